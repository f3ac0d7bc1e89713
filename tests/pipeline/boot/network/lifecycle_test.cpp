#include <net/if.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <functional>
#include <mutex>
#include <set>
#include <thread>

#include "pipeline/boot/network/nft_text.hpp"
#include "tests/pipeline/boot/network/lab.hpp"

namespace nanobox {
namespace {

const NetworkPolicy internet{.mode = NetworkMode::internet};

NetworkPolicy internal(std::uint32_t group) {
  return {.mode = NetworkMode::internal, .group = group};
}

std::vector<std::string> link_names() {
  std::vector<std::string> names;
  auto netlink = ok(Netlink::open());
  for (const auto& link : ok(netlink.links())) names.push_back(link.name);
  return names;
}

bool has_link(const std::string& name) {
  return ::if_nametoindex(name.c_str()) != 0;
}

int vm_links(const NetworkNames& names) {
  int count = 0;
  for (const auto& name : link_names()) count += name.starts_with(names.link_prefix);
  return count;
}

bool has_route(std::string_view to, std::uint8_t prefix = 32) {
  auto netlink = ok(Netlink::open());
  for (const auto& route : ok(netlink.routes()))
    if (route.destination == Ipv4Subnet{ip(to), prefix}) return true;
  return false;
}

bool has_table(const std::string& name) {
  return run_nft("list table inet " + name + "\n").has_value();
}

TEST_CASE("attach and detach cost the same with few and with many", "[network]") {
  NEEDS_NETWORK_NAMESPACES();
  Lab lab;
  const auto host = Lab::host();
  std::vector<VmNetwork> networks;
  std::vector<NetlinkTraffic> attached;
  const auto sum = [](const std::vector<NetlinkTraffic>& of, std::size_t from) {
    NetlinkTraffic total;
    for (std::size_t i = from; i < from + 10; ++i) total += of[i];
    return total;
  };
  const NetworkPolicy policies[] = {{}, internal(7), internet};
  for (std::uint32_t i = 0; i < 210; ++i) {
    networks.push_back(ok(VmNetwork::make(host.vm_settings())));
    // The first ten and the last ten have the same ten policies.
    attached.push_back(ok(networks.back().attach(Lab::subnet.base + 2 + i, policies[i % 3])));
  }
  CHECK(sum(attached, 0).messages == sum(attached, 198).messages);
  CHECK(sum(attached, 198).bytes <= sum(attached, 0).bytes);
  CHECK(ok(host.attachments()).size() == 210);
  std::vector<NetlinkTraffic> detached;
  for (auto& network : networks) detached.push_back(ok(network.detach()));
  CHECK(sum(detached, 0).messages == sum(detached, 198).messages);
  CHECK(sum(detached, 0).bytes == sum(detached, 198).bytes);
  CHECK(ok(host.attachments()).empty());
}

TEST_CASE("VMs are made, attached, changed and detached side by side", "[network]") {
  NEEDS_NETWORK_NAMESPACES();
  Lab lab;
  const auto host = Lab::host();
  std::vector<std::string> errors;
  std::mutex mutex;
  std::vector<std::thread> workers;
  for (std::uint32_t worker = 0; worker < 4; ++worker)
    workers.emplace_back([&, worker] {
      const auto work = [&]() -> Result<void> {
        for (std::uint32_t i = 0; i < 15; ++i) {
          auto network = NANOBOX_TRY(VmNetwork::make(host.vm_settings()));
          NANOBOX_TRY(network.attach(Lab::subnet.base + 2 + worker * 100 + i, internal(worker + 1)));
          NANOBOX_TRY(network.change(internet));
          NANOBOX_TRY(network.change({}));
          NANOBOX_TRY(network.detach());
        }
        return {};
      };
      if (const auto done = work(); !done) {
        const std::lock_guard lock(mutex);
        errors.push_back(describe(done.error()));
      }
    });
  for (auto& worker : workers) worker.join();
  CHECK(errors == std::vector<std::string>{});
  CHECK(ok(host.attachments()).empty());
}

TEST_CASE("a daemon with thousands of descriptors still makes networks", "[network]") {
  NEEDS_NETWORK_NAMESPACES();
  rlimit limit{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &limit) == 0);
  limit.rlim_cur = std::min<rlim_t>(limit.rlim_max, 4096);
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &limit) == 0);
  std::vector<UniqueFd> many;
  for (int i = 0; i < 1500; ++i) many.emplace_back(::dup(0));
  if (!many.back()) WARN("descriptors are few here: not tested beyond what select() takes");
  Lab lab;
  const auto host = Lab::host();
  auto server = lab.udp_outside("8.8.8.8", 7000);
  Vm vm(host, "10.100.0.5", internet);
  vm.guest.send_udp(ip("8.8.8.8"), 7000, "ask");
  CHECK(server.receive());
  ok(vm.network.detach());
}

TEST_CASE("a VM's network ends with its last holder", "[network]") {
  NEEDS_NETWORK_NAMESPACES();
  Lab lab;
  const auto host = Lab::host();
  std::string link;
  {
    Vm vm(host, "10.100.0.5", internet);
    link = vm.network.link();
    CHECK(has_link(link));
    CHECK(has_route("10.100.0.5"));
    ok(vm.network.detach());
    CHECK_FALSE(has_route("10.100.0.5"));
    ok(vm.network.detach());
  }
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds{30};
  while (has_link(link) && std::chrono::steady_clock::now() < end) std::this_thread::sleep_for(Milliseconds{10});
  CHECK_FALSE(has_link(link));
}

TEST_CASE("a TAP has one holder at a time", "[network]") {
  NEEDS_NETWORK_NAMESPACES();
  Lab lab;
  const auto host = Lab::host();
  auto network = ok(VmNetwork::make(host.vm_settings()));
  {
    const auto tap = ok(network.open_tap(TapFrames::with_virtio_header));
    const auto second = network.open_tap(TapFrames::bare);
    REQUIRE_FALSE(second);
    CHECK(second.error().code == ErrorCode::network_unavailable);
  }
  ok(network.give_tap_to(65534));
  ok(network.open_tap(TapFrames::bare));
}

TEST_CASE("set-up keeps two thousand sandboxes", "[network]") {
  NEEDS_NETWORK_NAMESPACES();
  Lab lab;
  const auto names = network_names("nanobox-br0");
  std::vector<HostAttachment> all;
  for (std::uint32_t i = 0; i < 2000; ++i)
    all.push_back(
        {vm_link_name(names, i), Lab::subnet.base + 2 + i, static_cast<NetworkMode>(i % 3), i % 3 == 1 ? i : 0});
  {
    const auto host = Lab::host();
    for (const auto& attachment : all) ok(host.vm_settings().table->put(std::nullopt, attachment));
  }
  const auto host = Lab::host();
  auto kept = ok(host.attachments());
  std::sort(kept.begin(), kept.end(), [](const auto& a, const auto& b) { return a.address < b.address; });
  CHECK(kept == all);
  CHECK(ok(host.reconcile({})).attachments.size() == 2000);
  CHECK(ok(host.attachments()).empty());
}

TEST_CASE("set-up refuses what is not ours", "[network]") {
  NEEDS_NETWORK_NAMESPACES();
  Lab lab;
  auto netlink = ok(Netlink::open());
  SECTION("a bridge of the name") {
    ok(netlink.make_bridge("nanobox-br0", 0));
    const auto refused = HostNetwork::set_up({.subnet = Lab::subnet});
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == ErrorCode::config_invalid);
    CHECK(refused.error().subject == "nanobox-br0");
    ok(HostNetwork::remove({.subnet = Lab::subnet}));
    CHECK(has_link("nanobox-br0"));
  }
  SECTION("a subnet that the host has a route to") {
    const auto refused = HostNetwork::set_up({.subnet = {ip("203.0.0.0"), 16}});
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == ErrorCode::config_invalid);
    CHECK(refused.error().mend.find("10.100.0.0/16") != std::string::npos);
    CHECK_FALSE(has_link("nanobox-br0"));
  }
  SECTION("a name that is none") {
    for (const auto* name : {"", "a b", "br\"0", "br*", "a-name-that-is-too-long"}) {
      const auto refused = HostNetwork::set_up({.bridge_name = name, .subnet = Lab::subnet});
      REQUIRE_FALSE(refused);
      CHECK(refused.error().code == ErrorCode::config_invalid);
    }
  }
}

TEST_CASE("nothing but ours is touched", "[network]") {
  NEEDS_NETWORK_NAMESPACES();
  Lab lab;
  const auto names = network_names("nanobox-br0");
  ok(run_nft(
      "table inet foreign { set s { type ipv4_addr; elements = { 1.2.3.4 }; }\n chain c { type filter hook forward "
      "priority 0; policy accept; ip saddr @s drop; }\n }\n"));
  auto netlink = ok(Netlink::open());
  const auto pair = ok(NetworkNamespace::make());
  // Named like ours, but without the mark.
  const auto lookalike = names.link_prefix + "abcdef";
  ok(netlink.make_veth({.name = lookalike,
                        .mac = "02:00:00:00:00:09",
                        .peer_name = "x",
                        .peer_mac = "02:00:00:00:00:0a",
                        .peer_namespace = pair.fd()}));
  ok(netlink.put_route({.destination = {ip("10.50.0.0"), 16}}));
  const auto links = link_names();
  {
    const auto host = Lab::host();
    Vm vm(host, "10.100.0.5", internet);
    const auto removed = ok(host.reconcile({}));
    CHECK(removed.links == std::vector<std::string>{vm.network.link()});
    CHECK(removed.attachments.size() == 1);
    ok(HostNetwork::remove({.subnet = Lab::subnet}));
  }
  CHECK(link_names() == links);
  CHECK(has_table("foreign"));
  CHECK_FALSE(has_table("nanobox"));
  CHECK(has_route("10.50.0.0", 16));
  CHECK_FALSE(has_route("10.100.0.0", 16));
  ok(HostNetwork::remove({.subnet = Lab::subnet}));
}

TEST_CASE("traffic of the host that is not ours passes", "[network]") {
  NEEDS_NETWORK_NAMESPACES();
  Lab lab;
  const auto host = Lab::host();
  Vm vm(host, "10.100.0.5", internet);
  // Another network behind the host, that it forwards for.
  const auto lan = ok(NetworkNamespace::make());
  auto netlink = ok(Netlink::open());
  ok(netlink.make_veth({.name = "lan0",
                        .mac = "02:00:00:00:01:01",
                        .peer_name = "lan1",
                        .peer_mac = "02:00:00:00:01:02",
                        .peer_namespace = lan.fd()}));
  const auto lan0 = ok(netlink.find_link("lan0"))->index;
  ok(netlink.add_address(lan0, ip("192.168.99.1"), 24));
  ok(netlink.set_up(lan0));
  ok(netlink.put_route({.destination = {ip("192.168.99.0"), 24}, .link = lan0}));
  ok(lan.run([]() -> Result<void> {
    auto inner = NANOBOX_TRY(Netlink::open());
    const auto link = NANOBOX_TRY(inner.find_link("lan1"))->index;
    NANOBOX_TRY(inner.add_address(link, ip("192.168.99.2"), 24));
    NANOBOX_TRY(inner.set_up(link));
    return inner.put_route({.destination = {0, 0}, .link = link, .via = ip("192.168.99.1")});
  }));
  auto theirs = ok(lan.run([]() -> Result<Socket> { return Lab::udp_here("192.168.99.2", 4000); }));
  auto server = lab.udp_outside("10.9.9.9", 7000);
  theirs.send({"ask", ip("10.9.9.9"), 7000});
  const auto asked = server.receive();
  REQUIRE(asked);
  CHECK(ipv4_text(asked->from) == "192.168.99.2");
  server.send({"answer", asked->from, asked->port});
  CHECK(theirs.receive());
  // But not to a sandbox, nor to the gateway's address.
  auto resolver = Lab::udp_here("10.100.0.1", 53);
  theirs.send({"in", vm.address, 7000});
  theirs.send({"in", ip("10.100.0.1"), 53});
  CHECK_FALSE(vm.guest.receive(quiet));
  CHECK_FALSE(resolver.receive(quiet));
  // The host itself has its resolver.
  auto own = Lab::udp_here("203.0.113.2", 4000);
  own.send({"ask", ip("10.100.0.1"), 53});
  CHECK(resolver.receive());
}

TEST_CASE("two daemons with different bridges side by side", "[network]") {
  NEEDS_NETWORK_NAMESPACES();
  Lab lab;
  const auto first = Lab::host();
  const auto second = Lab::host("other-br", {ip("10.101.0.0"), 16});
  Vm a(first, "10.100.0.5", internal(1));
  Vm b(second, "10.101.0.5", internal(1));
  Vm c(second, "10.101.0.6", internet);
  auto server = lab.udp_outside("8.8.8.8", 7000);
  a.guest.send_udp(b.address, 7000, "hello");
  b.guest.send_udp(a.address, 7000, "hello");
  c.guest.send_udp(a.address, 7000, "hello");
  CHECK_FALSE(b.guest.receive(quiet));
  CHECK_FALSE(a.guest.receive(quiet));
  c.guest.send_udp(ip("8.8.8.8"), 7000, "hello");
  CHECK(server.receive());

  CHECK(ok(first.reconcile({a.network.link()})).links.empty());
  CHECK(ok(first.attachments()).size() == 1);
  CHECK(ok(second.attachments()).size() == 2);
  ok(HostNetwork::remove({.subnet = Lab::subnet}));
  CHECK_FALSE(has_link("nanobox-br0"));
  CHECK(has_link("other-br"));
  c.guest.send_udp(ip("8.8.8.8"), 7000, "still");
  CHECK(server.receive());
}

TEST_CASE("a new daemon adopts what runs", "[network]") {
  NEEDS_NETWORK_NAMESPACES();
  Lab lab;
  auto server = lab.udp_outside("8.8.8.8", 7000);
  std::optional<FakeGuest> guest;
  std::optional<NetworkNamespace> vmm;  // what /proc/<VMM>/ns/net leads to
  {
    const auto host = Lab::host();
    Vm vm(host, "10.100.0.5", internal(9));
    vmm.emplace(UniqueFd(::dup(vm.network.namespace_fd())));
    guest.emplace(std::move(vm.guest));
  }
  const auto host = Lab::host();
  const auto there = ok(host.attachments());
  REQUIRE(there.size() == 1);
  CHECK(there[0].address == ip("10.100.0.5"));
  CHECK(there[0].mode == NetworkMode::internal);
  CHECK(there[0].group == 9);
  CHECK(ok(host.reconcile({there[0].link})).links.empty());

  auto adopted = ok(VmNetwork::adopt(host.vm_settings(), std::move(*vmm), there[0]));
  ok(adopted.change({.mode = NetworkMode::internet, .rate_limit_mbps = 50}));
  guest->send_udp(ip("8.8.8.8"), 7000, "ask");
  CHECK(server.receive());
  // The default route moves; the table is what it was.
  CHECK(host.uplink() == "up0");
  ok(adopted.detach());
  CHECK(ok(host.attachments()).empty());

  const auto stranger = ok(VmNetwork::make(host.vm_settings()));
  const auto wrong =
      VmNetwork::adopt(host.vm_settings(), NetworkNamespace(UniqueFd(::dup(stranger.namespace_fd()))), there[0]);
  REQUIRE_FALSE(wrong);
  CHECK(wrong.error().code == ErrorCode::network_unavailable);
}

TEST_CASE("a table that somebody changed is put right with the next change", "[network]") {
  NEEDS_NETWORK_NAMESPACES();
  Lab lab;
  auto host = Lab::host();
  auto server = lab.udp_outside("8.8.8.8", 7000);
  Vm vm(host, "10.100.0.5", internet);
  SECTION("elements are gone") {
    ok(run_nft("flush set inet nanobox talking\nflush map inet nanobox zones\n"));
    vm.guest.send_udp(ip("8.8.8.8"), 7000, "ask");
    CHECK_FALSE(server.receive(quiet));
    ok(vm.network.change({}));
    ok(vm.network.change(internet));
    vm.guest.send_udp(ip("8.8.8.8"), 7000, "ask");
    CHECK(server.receive());
  }
  SECTION("elements say something else") {
    ok(host.vm_settings().table->put(HostAttachment{vm.network.link(), vm.address, NetworkMode::internet, 0},
                                     HostAttachment{vm.network.link(), vm.address, NetworkMode::internal, 5}));
    ok(vm.network.reapply(internet));
    const auto there = ok(host.attachments());
    CHECK(there == std::vector<HostAttachment>{{vm.network.link(), vm.address, NetworkMode::internet, 0}});
    vm.guest.send_udp(ip("8.8.8.8"), 7000, "ask");
    CHECK(server.receive());
  }
  SECTION("the table is gone") {
    ok(run_nft("delete table inet nanobox\n"));
    const auto refused = vm.network.change({});
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == ErrorCode::not_ready);
    CHECK_FALSE(ok(host.intact()));
    host = Lab::host();
    CHECK(ok(host.intact()));
    CHECK(ok(host.attachments()).empty());
    for (int i = 0; i < 2; ++i) ok(vm.network.reapply(internet));
    CHECK(ok(host.attachments()).size() == 1);
    vm.guest.send_udp(ip("8.8.8.8"), 7000, "ask");
    CHECK(server.receive());
  }
}

TEST_CASE("the subnet changes with a new start", "[network]") {
  NEEDS_NETWORK_NAMESPACES();
  Lab lab;
  { const auto before = Lab::host(); }
  const auto host = Lab::host("nanobox-br0", {ip("10.77.0.0"), 16});
  CHECK(has_route("10.77.0.0", 16));
  CHECK_FALSE(has_route("10.100.0.0", 16));
  auto netlink = ok(Netlink::open());
  const auto addresses = ok(netlink.addresses(ok(netlink.find_link("nanobox-br0"))->index));
  CHECK(addresses == std::vector<Ipv4Subnet>{{ip("10.77.0.1"), 16}});
}

// The system calls by which this library changes anything; a kill before the nth of them is a kill between two steps.
bool changes_something(const user_regs_struct& registers) {
  switch (registers.orig_rax) {
    case SYS_sendmsg:
    case SYS_sendto:
    case SYS_unshare:
    case SYS_ioctl:
    case SYS_write:
      return true;
    default:
      return false;
  }
}

/// Runs `work` in a child that is killed before its nth change. @returns whether it came to its end first
bool killed_before(int nth, const std::function<void()>& work) {
  const auto child = ::fork();
  if (child == 0) {
    ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
    ::raise(SIGSTOP);
    work();
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  ::ptrace(PTRACE_SETOPTIONS, child, nullptr, PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL);
  ::ptrace(PTRACE_SYSCALL, child, nullptr, nullptr);
  int changes = 0;
  std::set<pid_t> inside;
  for (;;) {
    const auto thread = ::waitpid(-1, &status, __WALL);
    if (thread < 0) return false;
    if (WIFEXITED(status) || WIFSIGNALED(status)) {
      if (thread == child) return WIFEXITED(status) && WEXITSTATUS(status) == 0;
      continue;
    }
    if (WSTOPSIG(status) == (SIGTRAP | 0x80)) {
      if (inside.erase(thread) == 0) {
        inside.insert(thread);
        user_regs_struct registers{};
        ::ptrace(PTRACE_GETREGS, thread, nullptr, &registers);
        if (changes_something(registers) && ++changes == nth) ::kill(child, SIGKILL);
      }
    }
    ::ptrace(PTRACE_SYSCALL, thread, nullptr, nullptr);
  }
}

TEST_CASE("what a killed daemon left is found and removed, wherever it stood", "[network]") {
  NEEDS_NETWORK_NAMESPACES();
  Lab lab;
  const auto names = network_names("nanobox-br0");
  const auto links = link_names();
  int steps = 0;
  for (int nth = 1; nth < 500; ++nth) {
    INFO("killed before change " << nth);
    const bool finished = killed_before(nth, [] {
      auto host = HostNetwork::set_up({.subnet = Lab::subnet});
      if (!host) ::_exit(1);
      auto network = VmNetwork::make(host->vm_settings());
      if (!network ||
          !network->attach(Lab::subnet.base + 5, {.mode = NetworkMode::internal, .group = 3, .rate_limit_mbps = 9}) ||
          !network->change({.mode = NetworkMode::internet}) || !network->detach())
        ::_exit(1);
    });
    const auto host = ok(HostNetwork::set_up({.subnet = Lab::subnet}));
    ok(host.reconcile({}));
    CHECK(ok(host.attachments()).empty());
    CHECK(vm_links(names) == 0);
    CHECK_FALSE(has_route("10.100.0.5"));
    // It works, whatever stood there.
    auto network = ok(VmNetwork::make(host.vm_settings()));
    ok(network.attach(Lab::subnet.base + 5, internet));
    ok(network.detach());
    ok(host.reconcile({}));
    ok(HostNetwork::remove({.subnet = Lab::subnet}));
    REQUIRE(link_names() == links);
    CHECK_FALSE(has_table("nanobox"));
    steps = nth;
    if (finished) break;
  }
  CHECK(steps < 499);
  CHECK(steps > 60);
}

TEST_CASE("a killed daemon's VMs, whose namespaces are held, are removed too", "[network]") {
  NEEDS_NETWORK_NAMESPACES();
  Lab lab;
  const auto names = network_names("nanobox-br0");
  int pipe[2];
  REQUIRE(::pipe(pipe) == 0);
  // The daemon's child stands for a VMM: it stays in the namespace.
  const auto daemon = ::fork();
  if (daemon == 0) {
    auto host = HostNetwork::set_up({.subnet = Lab::subnet});
    auto network = VmNetwork::make(host->vm_settings());
    static_cast<void>(network->attach(Lab::subnet.base + 5, internet));
    const auto vmm = ::fork();
    if (vmm == 0) ::pause();
    static_cast<void>(!::write(pipe[1], &vmm, sizeof vmm));
    ::pause();
  }
  pid_t vmm = 0;
  REQUIRE(::read(pipe[0], &vmm, sizeof vmm) == sizeof vmm);
  ::kill(daemon, SIGKILL);
  ::waitpid(daemon, nullptr, 0);
  CHECK(vm_links(names) == 1);

  const auto host = Lab::host();
  CHECK(ok(host.attachments()).size() == 1);
  const auto removed = ok(host.reconcile({}));
  CHECK(removed.links.size() == 1);
  CHECK(removed.attachments.size() == 1);
  CHECK(vm_links(names) == 0);
  CHECK(ok(host.attachments()).empty());
  ::kill(vmm, SIGKILL);
  ::close(pipe[0]);
  ::close(pipe[1]);
}

}  // namespace
}  // namespace nanobox
