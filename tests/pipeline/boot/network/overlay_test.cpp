#include "pipeline/boot/network/overlay.hpp"

#include <algorithm>
#include <functional>
#include <memory>

#include "pipeline/boot/network/host_ruleset.hpp"
#include "tests/pipeline/boot/network/lab.hpp"

namespace nanobox {
namespace {

constexpr std::string_view here_address = "203.0.113.2", there_address = "203.0.113.1";
const Ipv4Subnet part_here{0x0A640000, 24}, part_there{0x0A640100, 24};  // 10.100.0.0/24, 10.100.1.0/24

NetworkPolicy internal(std::uint32_t group) {
  return {.mode = NetworkMode::internal, .group = group};
}

/// A node on the lab's host, or on the lab's other side of the wire.
struct Host {
  HostNetwork network;
  std::unique_ptr<Overlay> overlay;

  static Result<Host> start(const std::string& underlay) {
    NANOBOX_TRY(forward_packets());
    auto network = NANOBOX_TRY(HostNetwork::set_up({.subnet = Lab::subnet}));
    const auto& vm = network.vm_settings();
    auto overlay =
        NANOBOX_TRY(Overlay::start({.names = vm.names, .subnet = vm.subnet, .underlay = underlay, .table = vm.table}));
    return Host{std::move(network), std::move(overlay)};
  }
};

/// Two nodes that know each other, and a way to do something on the far one.
struct TwoHosts {
  Lab lab;
  Host here;
  Host there;

  TwoHosts() : here(ok(Host::start("up0"))), there(ok(lab.outside().run([] { return Host::start("up1"); }))) {
    ok(here.overlay->put_peers({{.address = ip(there_address), .parts = {part_there}}}));
    on_far([&] { return there.overlay->put_peers({{.address = ip(here_address), .parts = {part_here}}}); });
  }
  void on_far(const std::function<Result<void>()>& work) { ok(lab.outside().run(work)); }
  std::unique_ptr<Vm> far_vm(std::string_view address, const NetworkPolicy& policy) {
    std::unique_ptr<Vm> vm;
    on_far([&]() -> Result<void> {
      vm = std::make_unique<Vm>(there.network, address, policy);
      return {};
    });
    return vm;
  }
};

bool reaches(Vm& from, Vm& to) {
  to.guest.drain();
  from.guest.send_udp(to.address, 7000, "hello");
  const auto came = to.guest.receive_udp(Milliseconds{300});
  return came && came->from == from.address && came->payload == "hello";
}

/// A guest's datagram as another node would send it.
std::string vxlan_of(std::uint32_t from, std::uint32_t to) {
  const auto big16 = [](std::uint32_t value) {
    return std::string{static_cast<char>(value >> 8), static_cast<char>(value)};
  };
  const auto big32 = [&](std::uint32_t value) { return big16(value >> 16) + big16(value & 0xffff); };
  const std::string text = "hello";
  const auto udp = big16(4000) + big16(7000) + big16(static_cast<std::uint32_t>(8 + text.size())) + big16(0) + text;
  auto head = big16(0x4500) + big16(static_cast<std::uint32_t>(20 + udp.size())) + big32(0) + big16(0x4011) + big16(0) +
              big32(from) + big32(to);
  std::uint32_t sum = 0;
  for (std::size_t at = 0; at < head.size(); at += 2)
    sum += static_cast<unsigned char>(head[at]) << 8 | static_cast<unsigned char>(head[at + 1]);
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  head.replace(10, 2, big16(~sum & 0xffff));
  const auto mac = [&](std::string_view address) { return std::string("\x02\x6e", 2) + big32(ip(address)); };
  return big32(0x08000000) + big32(host_ruleset::vni_of(Lab::subnet) << 8) + mac(here_address) + mac(there_address) +
         big16(0x0800) + head + udp;
}

TEST_CASE("a group's sandboxes on two nodes reach each other, those of another group do not", "[network]") {
  NEEDS_NETWORK_NAMESPACES();
  TwoHosts hosts;
  Vm one(hosts.here.network, "10.100.0.5", internal(1));
  Vm stranger(hosts.here.network, "10.100.0.6", internal(2));
  // Each node has numbers of its own for groups.
  const auto two = hosts.far_vm("10.100.1.5", internal(7));
  const auto other = hosts.far_vm("10.100.1.6", internal(8));
  CHECK_FALSE(reaches(one, *two));

  ok(hosts.here.overlay->put_group(1, {two->address}));
  CHECK_FALSE(reaches(one, *two));  // the other node does not know yet
  hosts.on_far([&] { return hosts.there.overlay->put_group(7, {one.address}); });
  CHECK(reaches(one, *two));
  CHECK(reaches(*two, one));

  for (auto* from : {&one, &stranger}) CHECK_FALSE(reaches(*from, *other));
  CHECK_FALSE(reaches(stranger, *two));
  CHECK_FALSE(reaches(*two, stranger));
  CHECK_FALSE(reaches(*other, one));
}

TEST_CASE("one node's word is enough to part two sandboxes", "[network]") {
  NEEDS_NETWORK_NAMESPACES();
  TwoHosts hosts;
  Vm one(hosts.here.network, "10.100.0.5", internal(1));
  const auto two = hosts.far_vm("10.100.1.5", internal(7));
  ok(hosts.here.overlay->put_group(1, {two->address}));
  hosts.on_far([&] { return hosts.there.overlay->put_group(7, {one.address}); });
  REQUIRE(reaches(one, *two));
  // It is in another group now, and nobody has told the other node.
  ok(one.network.change(internal(2)));
  CHECK_FALSE(reaches(one, *two));
  CHECK_FALSE(reaches(*two, one));
  ok(one.network.change({}));
  CHECK_FALSE(reaches(*two, one));
}

TEST_CASE("a guest does not pass for a sandbox of another node", "[network]") {
  NEEDS_NETWORK_NAMESPACES();
  TwoHosts hosts;
  Vm one(hosts.here.network, "10.100.0.5", internal(1));
  const auto two = hosts.far_vm("10.100.1.5", internal(7));
  ok(hosts.here.overlay->put_group(1, {two->address}));
  hosts.on_far([&] { return hosts.there.overlay->put_group(7, {one.address}); });
  one.guest.address = ip("10.100.0.9");
  one.guest.send_udp(two->address, 7000, "hello");
  one.guest.address = one.address;
  one.guest.send_udp(two->address, 7000, "hello");
  CHECK_FALSE(two->guest.receive_udp(quiet));
  one.guest.address = vm_side::guest;
  CHECK(reaches(one, *two));
}

TEST_CASE("frames are taken from peers only, and reach sandboxes only", "[network]") {
  NEEDS_NETWORK_NAMESPACES();
  TwoHosts hosts;
  Vm one(hosts.here.network, "10.100.0.5", internal(1));
  ok(hosts.here.overlay->put_group(1, {ip("10.100.1.5")}));
  auto peer = hosts.lab.udp_outside(there_address, 5555);
  auto stranger = hosts.lab.udp_outside("198.51.100.7", 5555);
  auto service = Lab::udp_here(here_address, 7000);
  const auto frame = vxlan_of(ip("10.100.1.5"), one.address);

  stranger.send({frame, ip(here_address), 4789});
  CHECK_FALSE(one.guest.receive_udp(quiet));
  peer.send({vxlan_of(ip("10.100.1.6"), one.address), ip(here_address), 4789});  // of no group
  peer.send({vxlan_of(one.address, one.address), ip(here_address), 4789});       // an address of this node
  CHECK_FALSE(one.guest.receive_udp(quiet));
  peer.send({vxlan_of(ip("10.100.1.5"), ip(here_address)), ip(here_address), 4789});
  CHECK_FALSE(service.receive(quiet));
  peer.send({frame, ip(here_address), 4789});
  CHECK(one.guest.receive_udp(surely));

  ok(hosts.here.overlay->put_peers({}));
  peer.send({frame, ip(here_address), 4789});
  CHECK_FALSE(one.guest.receive_udp(quiet));
}

TEST_CASE("what other programs took away is put back", "[network]") {
  NEEDS_NETWORK_NAMESPACES();
  TwoHosts hosts;
  Vm one(hosts.here.network, "10.100.0.5", internal(1));
  const auto two = hosts.far_vm("10.100.1.5", internal(7));
  ok(hosts.here.overlay->put_group(1, {two->address}));
  hosts.on_far([&] { return hosts.there.overlay->put_group(7, {one.address}); });
  REQUIRE(reaches(one, *two));

  auto netlink = ok(Netlink::open());
  const auto name = hosts.here.network.vm_settings().names.overlay;
  ok(netlink.remove_link(ok(netlink.find_link(name))->index));
  ok(hosts.here.overlay->look_after(false));
  CHECK(reaches(one, *two));

  ok(hosts.here.network.load_table());
  CHECK_FALSE(reaches(one, *two));
  ok(hosts.here.overlay->look_after(true));
  CHECK(reaches(one, *two));
}

TEST_CASE("a peer's routes follow its parts and go with it", "[network]") {
  NEEDS_NETWORK_NAMESPACES();
  Lab lab;
  auto host = ok(Host::start("up0"));
  const auto name = host.network.vm_settings().names.overlay;
  const auto routed = [&] {
    auto netlink = ok(Netlink::open());
    std::vector<std::string> found;
    for (const auto& route : ok(netlink.routes()))
      if (route.link == name) found.push_back(to_string(route.destination));
    std::sort(found.begin(), found.end());
    return found;
  };
  using Texts = std::vector<std::string>;
  const Ipv4Subnet more{0x0A640500, 24}, foreign{0x0A640000, 8};
  ok(host.overlay->put_peers({{.address = ip(there_address), .parts = {part_there, foreign}}}));
  CHECK(routed() == Texts{"10.100.1.0/24"});
  ok(host.overlay->put_peers({{.address = ip(there_address), .parts = {part_there, more}}}));
  CHECK(routed() == Texts{"10.100.1.0/24", "10.100.5.0/24"});
  ok(host.overlay->put_peers({{.address = ip("203.0.113.9"), .parts = {part_there}}}));
  CHECK(routed() == Texts{"10.100.1.0/24"});

  // The next daemon begins without what this one left, and the subnet is still its own.
  host.overlay.reset();
  host = ok(Host::start("up0"));
  CHECK(routed().empty());
  ok(HostNetwork::remove({.subnet = Lab::subnet}));
  CHECK_FALSE(ok(ok(Netlink::open()).find_link(name)));
}

TEST_CASE("an overlay needs a link with an address", "[network]") {
  NEEDS_NETWORK_NAMESPACES();
  Lab lab;
  for (const auto* underlay : {"nowhere", "nanobox-br1"}) {
    const auto host = Host::start(underlay);
    REQUIRE_FALSE(host);
    CHECK(host.error().code == ErrorCode::config_invalid);
    CHECK(host.error().subject == underlay);
  }
}

}  // namespace
}  // namespace nanobox
