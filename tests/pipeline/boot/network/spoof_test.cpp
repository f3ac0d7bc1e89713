#include <unistd.h>

#include "pipeline/boot/network/nft_text.hpp"
#include "tests/pipeline/boot/network/lab.hpp"

namespace nanobox {
namespace {

const NetworkPolicy internet{.mode = NetworkMode::internet};

TEST_CASE("a guest sends under its own address only", "[network]") {
  NEEDS_NETWORK_NAMESPACES();
  Lab lab;
  const auto host = Lab::host();
  Vm vm(host, "10.100.0.5", internet);
  Vm sibling(host, "10.100.0.6", internet);
  auto server = lab.udp_outside("8.8.8.8", 7000);
  const auto reaches = [&] {
    vm.guest.send_udp(ip("8.8.8.8"), 7000, "ask");
    return server.receive(quiet).has_value();
  };
  CHECK(reaches());
  for (const auto* address :
       {"10.100.0.5", "10.100.0.6", "169.254.100.1", "169.254.100.3", "8.8.8.9", "0.0.0.0", "127.0.0.1"}) {
    INFO(address);
    vm.guest.address = ip(address);
    CHECK_FALSE(reaches());
  }
  vm.guest.address = vm_side::guest;
  SECTION("and its own MAC") {
    vm.guest.mac = std::string("\x02\x6e\x62\x00\x00\x03", 6);
    CHECK_FALSE(reaches());
  }
  SECTION("to the gateway's MAC, no broadcast") {
    vm.guest.send_frame(0x0800, std::string(40, 'x'), std::string(6, '\xff'));
    CHECK_FALSE(vm.guest.receive(quiet));
  }
}

TEST_CASE("ARP is answered for the gateway, and believed from nobody", "[network]") {
  NEEDS_NETWORK_NAMESPACES();
  Lab lab;
  const auto host = Lab::host();
  Vm vm(host, "10.100.0.5", internet);
  Vm sibling(host, "10.100.0.6", internet);
  auto server = lab.udp_outside("8.8.8.8", 7000);

  vm.guest.send_arp(vm_side::gateway);
  const auto answer = vm.guest.receive();
  REQUIRE(answer);
  CHECK(answer->ether_type == 0x0806);
  CHECK(answer->source_mac == std::string("\x02\x6e\x62\x00\x00\x02", 6));

  for (const auto* other : {"10.100.0.1", "10.100.0.6", "169.254.101.1", "169.254.100.2"}) {
    INFO(other);
    vm.guest.send_arp(ip(other));
    CHECK_FALSE(vm.guest.receive(quiet));
  }

  // It says to be the gateway, and its sibling: nothing goes another way afterwards.
  for (const auto* claimed : {"169.254.100.1", "10.100.0.1", "10.100.0.6"})
    for (const std::uint16_t operation : {1, 2}) {
      vm.guest.address = ip(claimed);
      vm.guest.send_arp(vm_side::gateway, operation);
      vm.guest.send_arp(ip(claimed), operation);
    }
  vm.guest.address = vm_side::guest;
  CHECK_FALSE(vm.guest.receive(quiet));
  for (auto* one : {&vm, &sibling}) {
    one->guest.send_udp(ip("8.8.8.8"), 7000, "ask");
    const auto asked = server.receive();
    REQUIRE(asked);
    server.send({"answer", asked->from, asked->port});
    CHECK(one->guest.receive_udp());
  }
}

TEST_CASE("IPv6 and every other kind of frame is dropped", "[network]") {
  NEEDS_NETWORK_NAMESPACES();
  Lab lab;
  const auto host = Lab::host();
  Vm vm(host, "10.100.0.5", internet);
  // A neighbour solicitation and a router solicitation, VLAN, STP, LLDP, MPLS, IP in IP's length field.
  const std::string all_nodes("\x33\x33\x00\x00\x00\x01", 6);
  std::string ipv6 = std::string("\x60\x00\x00\x00\x00\x08\x3a\xff", 8) + std::string("\xfe\x80", 2) +
                     std::string(13, '\0') + "\x02" + std::string("\xff\x02", 2) + std::string(13, '\0') + "\x02" +
                     std::string("\x85\x00\x7d\x37\x00\x00\x00\x00", 8);
  vm.guest.send_frame(0x86dd, ipv6, all_nodes);
  vm.guest.send_frame(0x86dd, ipv6);
  for (const std::uint16_t type : {0x8100, 0x88a8, 0x88cc, 0x8847, 0x0026, 0x8863})
    vm.guest.send_frame(type, std::string(60, '\1'));
  CHECK_FALSE(vm.guest.receive(quiet));
}

TEST_CASE("a VMM that broke out sends no more than its guest may", "[network]") {
  NEEDS_NETWORK_NAMESPACES();
  Lab lab;
  const auto host = Lab::host();
  Vm vm(host, "10.100.0.5", internet);
  Vm sibling(host, "10.100.0.6", internet);
  auto server = lab.udp_outside("8.8.8.8", 7000);
  auto secret = lab.udp_outside("10.9.9.9", 7000);
  auto resolver = Lab::udp_here("10.100.0.1", 53);
  const NetworkNamespace inside(UniqueFd(::dup(vm.network.namespace_fd())));
  const auto send_from = [&](const char* from) {
    ok(inside.run([&]() -> Result<void> {
      auto netlink = NANOBOX_TRY(Netlink::open());
      const auto out = NANOBOX_TRY(netlink.find_link(std::string(vm_side::out)))->index;
      NANOBOX_TRY(netlink.add_address(out, ip(from), 32));
      auto socket = Lab::udp_here(from, 4000);
      for (const auto* to : {"8.8.8.8", "10.9.9.9", "10.100.0.6"}) socket.send({"escaped", ip(to), 7000});
      socket.send({"escaped", ip("10.100.0.1"), 53});
      return {};
    }));
  };
  for (const auto* from : {"10.100.0.5", "10.100.0.6", "169.254.100.1"}) {
    INFO(from);
    send_from(from);
    CHECK_FALSE(server.receive(quiet));
    CHECK_FALSE(resolver.receive(quiet));
  }
  // Without the namespace's rules, which it has no right to remove, the host's still hold.
  ok(inside.run([] { return run_nft("flush ruleset\n"); }));
  for (const auto* from : {"10.100.0.6", "169.254.100.1", "10.200.0.1"}) {
    INFO(from);
    send_from(from);
    CHECK_FALSE(server.receive(quiet));
    CHECK_FALSE(resolver.receive(quiet));
  }
  send_from("10.100.0.5");
  CHECK(server.receive());
  CHECK(resolver.receive());
  CHECK_FALSE(secret.receive(quiet));
  CHECK_FALSE(sibling.guest.receive(quiet));
}

TEST_CASE("a connection copied by a fork ends at once by a reset", "[network]") {
  NEEDS_NETWORK_NAMESPACES();
  Lab lab;
  const auto host = Lab::host();
  Vm parent(host, "10.100.0.5", internet);
  Vm child(host, "10.100.0.6", internet);
  auto web = lab.tcp_outside("1.1.1.1", 80);
  const auto connected = parent.guest.connect(ip("1.1.1.1"), 80);
  REQUIRE(connected);
  auto connection = web.accept();
  REQUIRE(connection);

  child.guest.send_tcp(ip("1.1.1.1"), 80, 5000, tcp::ack | tcp::psh, connected->acknowledged, connected->sequence + 1,
                       "mine");
  const auto reset = child.guest.receive_tcp();
  REQUIRE(reset);
  CHECK((reset->tcp_flags & tcp::rst) != 0);
  CHECK(reset->from == ip("1.1.1.1"));
  CHECK_FALSE(connection->read(quiet));

  parent.guest.send_tcp(ip("1.1.1.1"), 80, 5000, tcp::ack | tcp::psh, connected->acknowledged, connected->sequence + 1,
                        "mine");
  CHECK(connection->read() == "mine");
}

}  // namespace
}  // namespace nanobox
