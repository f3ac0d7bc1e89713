// What one VM's network costs: without stock, attached from the stock, changed, detached; with few and with many there.
// It works in a network namespace of its own and leaves nothing behind. Needs root.
#include <sched.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "pipeline/boot/network/host_network.hpp"
#include "pipeline/boot/network/vm_network.hpp"

namespace {

using namespace nanobox;
using Clock = std::chrono::steady_clock;

template <class T>
T need(Result<T> result) {
  if (!result) {
    std::fprintf(stderr, "%s\n", describe(result.error()).c_str());
    std::exit(1);
  }
  return std::move(*result);
}

struct Series {
  std::string name;
  std::vector<double> ms = {};
  NetlinkTraffic sent = {};

  template <class Work>
  auto measure(Work&& work) {
    const auto begin = Clock::now();
    auto answer = work();
    ms.push_back(std::chrono::duration<double, std::milli>(Clock::now() - begin).count());
    return answer;
  }
  void print() {
    std::sort(ms.begin(), ms.end());
    std::printf("  %-26s p50 %7.2f ms  p99 %7.2f ms", name.c_str(), ms[ms.size() / 2], ms[ms.size() * 99 / 100]);
    if (sent.messages > 0)
      std::printf("  %5.1f messages, %6.0f bytes each",
                  static_cast<double>(sent.messages) / static_cast<double>(ms.size()),
                  static_cast<double>(sent.bytes) / static_cast<double>(ms.size()));
    std::printf("\n");
  }
};

}  // namespace

int main(int argc, char** argv) {
  const int count = argc > 1 ? std::atoi(argv[1]) : 200;
  if (argc > 2 || count <= 0) {
    std::fprintf(stderr, "usage: network_bench [VMs, 200]\n");
    return 2;
  }
  if (::unshare(CLONE_NEWNET) != 0) {
    std::perror("network_bench needs root: unshare");
    return 1;
  }
  const Ipv4Subnet subnet = need(parse_subnet("10.100.0.0/16"));
  const auto host = need(HostNetwork::set_up({.subnet = subnet, .host_iface = "eth0"}));
  const NetworkPolicy isolated;
  const NetworkPolicy internet{.mode = NetworkMode::internet, .rate_limit_mbps = 100};
  Series make{"make, no stock"}, attach{"attach, isolated"}, change{"change to internet, 100 Mbit/s"}, detach{"detach"},
      end{"end of the namespace"};
  std::vector<VmNetwork> vms;
  for (int i = 0; i < count; ++i)
    vms.push_back(make.measure([&] { return need(VmNetwork::make(host.vm_settings())); }));
  for (int i = 0; i < count; ++i)
    attach.sent += attach.measure([&] {
      return need(vms[static_cast<std::size_t>(i)].attach(subnet.base + 2 + static_cast<std::uint32_t>(i), isolated));
    });
  for (auto& vm : vms) change.sent += change.measure([&] { return need(vm.change(internet)); });
  for (auto& vm : vms) detach.sent += detach.measure([&] { return need(vm.detach()); });
  while (!vms.empty())
    end.measure([&] {
      vms.pop_back();
      return 0;
    });
  std::printf("%d VMs side by side\n", count);
  for (auto* series : {&make, &attach, &change, &detach, &end}) series->print();
}
