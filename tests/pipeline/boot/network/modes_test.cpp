#include "tests/pipeline/boot/network/lab.hpp"

namespace nanobox {
namespace {

const NetworkPolicy isolated{};
const NetworkPolicy internet{.mode = NetworkMode::internet};

NetworkPolicy internal(std::uint32_t group) {
  return {.mode = NetworkMode::internal, .group = group};
}

/// Whether a datagram of `vm` arrives at the socket, and its answer at the guest.
bool talks(Vm& vm, Socket& server, std::string_view to, std::uint16_t port, std::uint16_t from_port = 4000) {
  vm.guest.drain();
  vm.guest.send_udp(ip(to), port, "ask", from_port);
  const auto asked = server.receive(surely);
  if (!asked || asked->text != "ask") return false;
  server.send({"answer", asked->from, asked->port});
  const auto answer = vm.guest.receive_udp(surely);
  return answer && answer->payload == "answer" && answer->from == ip(to) && answer->to == vm_side::guest &&
         answer->to_port == from_port;
}

bool reaches(Vm& vm, Socket& server, std::string_view to, std::uint16_t port, std::uint16_t from_port = 4000) {
  vm.guest.send_udp(ip(to), port, "ask", from_port);
  return server.receive(quiet).has_value();
}

bool reaches(Vm& from, Vm& to) {
  to.guest.drain();
  from.guest.send_udp(to.address, 7000, "hello");
  const bool udp = to.guest.receive_udp(quiet).has_value();
  from.guest.send_tcp(to.address, 7001, 4001, tcp::syn, 1, 0);
  const bool tcp = to.guest.receive_tcp(quiet).has_value();
  CHECK(udp == tcp);
  return udp;
}

TEST_CASE("isolated: nothing in or out", "[network]") {
  NEEDS_NETWORK_NAMESPACES();
  Lab lab;
  const auto host = Lab::host();
  Vm vm(host, "10.100.0.5", isolated);
  Vm sibling(host, "10.100.0.6", isolated);
  Vm talker(host, "10.100.0.7", internal(1));
  auto internet_server = lab.udp_outside("8.8.8.8", 7000);
  auto resolver = Lab::udp_here("10.100.0.1", 53);
  auto own = Lab::udp_here("203.0.113.2", 7000);
  CHECK_FALSE(reaches(vm, internet_server, "8.8.8.8", 7000));
  CHECK_FALSE(reaches(vm, resolver, "10.100.0.1", 53));
  CHECK_FALSE(reaches(vm, own, "203.0.113.2", 7000));
  CHECK_FALSE(reaches(vm, sibling));
  CHECK_FALSE(reaches(talker, vm));
  vm.guest.send_ping(ip("10.100.0.1"));
  vm.guest.send_ping(vm_side::gateway);
  CHECK_FALSE(vm.guest.receive(quiet));

  // Nor from the host or from outside.
  resolver.send({"in", vm.address, 7000});
  internet_server.send({"in", vm.address, 7000});
  CHECK_FALSE(vm.guest.receive(quiet));
}

TEST_CASE("internal: the group and the resolver, nothing else", "[network]") {
  NEEDS_NETWORK_NAMESPACES();
  Lab lab;
  const auto host = Lab::host();
  Vm vm(host, "10.100.0.5", internal(1));
  Vm friendly(host, "10.100.0.6", internal(1));
  Vm stranger(host, "10.100.0.7", internal(2));
  Vm online(host, "10.100.0.8", internet);
  auto resolver = Lab::udp_here("10.100.0.1", 53);
  auto other_port = Lab::udp_here("10.100.0.1", 54);
  auto own = Lab::udp_here("203.0.113.2", 53);
  auto internet_server = lab.udp_outside("8.8.8.8", 7000);
  auto listener = Lab::tcp_here("10.100.0.1", 53);
  auto ssh = Lab::tcp_here("10.100.0.1", 22);

  CHECK(reaches(vm, friendly));
  CHECK(reaches(friendly, vm));
  CHECK_FALSE(reaches(vm, stranger));
  CHECK_FALSE(reaches(stranger, vm));
  CHECK_FALSE(reaches(vm, online));
  CHECK_FALSE(reaches(online, vm));

  CHECK(talks(vm, resolver, "10.100.0.1", 53));
  CHECK(vm.guest.connect(ip("10.100.0.1"), 53));
  CHECK(listener.accept());
  CHECK_FALSE(vm.guest.connect(ip("10.100.0.1"), 22, 5001, quiet));
  CHECK_FALSE(reaches(vm, other_port, "10.100.0.1", 54));
  CHECK_FALSE(reaches(vm, internet_server, "8.8.8.8", 7000));
  vm.guest.send_ping(ip("10.100.0.1"));
  vm.guest.send_ping(ip("8.8.8.8"));
  CHECK_FALSE(vm.guest.receive_ping(quiet));
  CHECK_FALSE(own.receive(quiet));

  SECTION("a sandbox sees its sibling's outer address") {
    friendly.guest.drain();
    vm.guest.send_udp(friendly.address, 9000, "who", 9001);
    const auto heard = friendly.guest.receive_udp();
    REQUIRE(heard);
    CHECK(heard->from == vm.address);
    friendly.guest.send_udp(vm.address, 9001, "me", 9000);
    const auto answered = vm.guest.receive_udp();
    REQUIRE(answered);
    CHECK(answered->from == friendly.address);
    CHECK(answered->payload == "me");
  }
}

TEST_CASE("DNS to anywhere else is answered by our resolver", "[network]") {
  NEEDS_NETWORK_NAMESPACES();
  Lab lab;
  const auto host = Lab::host();
  const auto mode = GENERATE(NetworkMode::internal, NetworkMode::internet);
  Vm vm(host, "10.100.0.5", {.mode = mode, .group = 1});
  auto resolver = Lab::udp_here("10.100.0.1", 53);
  auto listener = Lab::tcp_here("10.100.0.1", 53);
  auto foreign = lab.udp_outside("8.8.8.8", 53);
  CHECK(talks(vm, resolver, "8.8.8.8", 53));
  CHECK(vm.guest.connect(ip("8.8.8.8"), 53));
  CHECK(listener.accept());
  CHECK_FALSE(foreign.receive(quiet));
}

TEST_CASE("internet: out through NAT to public addresses", "[network]") {
  NEEDS_NETWORK_NAMESPACES();
  Lab lab;
  const auto host = Lab::host();
  Vm vm(host, "10.100.0.5", internet);
  auto server = lab.udp_outside("8.8.8.8", 7000);
  auto web = lab.tcp_outside("1.1.1.1", 80);
  auto resolver = Lab::udp_here("10.100.0.1", 53);

  CHECK(talks(vm, server, "8.8.8.8", 7000));
  CHECK(talks(vm, resolver, "10.100.0.1", 53));
  vm.guest.send_udp(ip("8.8.8.8"), 7000, "from where");
  const auto asked = server.receive();
  REQUIRE(asked);
  CHECK(ipv4_text(asked->from) == "203.0.113.2");

  const auto connected = vm.guest.connect(ip("1.1.1.1"), 80);
  REQUIRE(connected);
  auto connection = web.accept();
  REQUIRE(connection);
  vm.guest.send_tcp(ip("1.1.1.1"), 80, 5000, tcp::ack | tcp::psh, connected->acknowledged, connected->sequence + 1,
                    "GET");
  CHECK(connection->read() == "GET");

  vm.guest.drain();
  vm.guest.send_ping(ip("8.8.8.8"));
  const auto pong = vm.guest.receive_ping();
  REQUIRE(pong);
  CHECK(pong->icmp_type == 0);
  CHECK(pong->from == ip("8.8.8.8"));

  // Errors about what it sent come back.
  vm.guest.send_udp(ip("8.8.8.8"), 9, "closed");
  const auto error = vm.guest.receive_ping();
  REQUIRE(error);
  CHECK(error->icmp_type == 3);

  // Nobody reaches it from outside, by its address or by a port that it did not open.
  vm.guest.drain();
  server.send({"in", vm.address, 7000});
  server.send({"in", ip("203.0.113.2"), 4321});
  CHECK_FALSE(vm.guest.receive(quiet));
}

TEST_CASE("internet: never the host, siblings, private or special addresses", "[network]") {
  NEEDS_NETWORK_NAMESPACES();
  Lab lab;
  const auto host = Lab::host();
  NetworkPolicy policy = internet;
  // Naming them does not open them.
  if (GENERATE(false, true)) policy.allow_cidrs = {{0, 0}, {0x0A000000, 8}, {ip("169.254.169.254"), 32}};
  Vm vm(host, "10.100.0.5", policy);
  Vm sibling(host, "10.100.0.6", internet);
  auto server = lab.udp_outside("8.8.8.8", 7000);
  CHECK(talks(vm, server, "8.8.8.8", 7000));
  for (const auto* address : {"10.9.9.9", "192.168.7.7", "172.20.0.1", "100.64.1.1", "169.254.169.254"}) {
    INFO(address);
    auto secret = lab.udp_outside(address, 7000);
    CHECK_FALSE(reaches(vm, secret, address, 7000));
    auto page = lab.tcp_outside(address, 80);
    CHECK_FALSE(vm.guest.connect(ip(address), 80, 6000, quiet));
    CHECK_FALSE(page.accept(Milliseconds{0}));
  }
  for (const auto* address : {"203.0.113.2", "10.100.0.1", "127.0.0.1"}) {
    INFO(address);
    auto own = Lab::udp_here(address, 7000);
    CHECK_FALSE(reaches(vm, own, address, 7000));
  }
  for (const auto* address : {"224.0.0.251", "255.255.255.255", "10.100.255.255", "203.0.113.255"}) {
    INFO(address);
    auto everybody = Lab::udp_here("0.0.0.0", 7001);
    CHECK_FALSE(reaches(vm, everybody, address, 7001));
    auto outside = lab.udp_outside("0.0.0.0", 7001);
    CHECK_FALSE(reaches(vm, outside, address, 7001));
  }
  CHECK_FALSE(reaches(vm, sibling));
}

TEST_CASE("internet: lists narrow it and cut out", "[network]") {
  NEEDS_NETWORK_NAMESPACES();
  Lab lab;
  const auto host = Lab::host();
  auto eight = lab.udp_outside("8.8.8.8", 7000);
  auto one = lab.udp_outside("1.1.1.1", 7000);
  auto resolver = Lab::udp_here("10.100.0.1", 53);
  const Ipv4Subnet around_eight{ip("8.8.8.0"), 24};

  Vm vm(host, "10.100.0.5", {.mode = NetworkMode::internet, .allow_cidrs = {around_eight}});
  CHECK(talks(vm, eight, "8.8.8.8", 7000));
  CHECK_FALSE(reaches(vm, one, "1.1.1.1", 7000));
  CHECK(talks(vm, resolver, "10.100.0.1", 53));

  ok(vm.network.change({.mode = NetworkMode::internet, .deny_cidrs = {around_eight}}));
  CHECK_FALSE(reaches(vm, eight, "8.8.8.8", 7000));
  CHECK(talks(vm, one, "1.1.1.1", 7000));

  ok(vm.network.change(
      {.mode = NetworkMode::internet, .allow_cidrs = {around_eight}, .deny_cidrs = {{ip("8.8.8.8"), 32}}}));
  CHECK_FALSE(reaches(vm, eight, "8.8.8.8", 7000));
  CHECK_FALSE(reaches(vm, one, "1.1.1.1", 7000));
}

TEST_CASE("internet: addresses of allowed names, while they last", "[network]") {
  NEEDS_NETWORK_NAMESPACES();
  Lab lab;
  const auto host = Lab::host();
  auto eight = lab.udp_outside("8.8.8.8", 7000);
  auto one = lab.udp_outside("1.1.1.1", 7000);
  auto secret = lab.udp_outside("10.9.9.9", 7000);
  const NetworkPolicy by_name{
      .mode = NetworkMode::internet, .deny_cidrs = {{ip("1.1.1.1"), 32}}, .allow_domains = true};
  Vm vm(host, "10.100.0.5", by_name);
  CHECK_FALSE(reaches(vm, eight, "8.8.8.8", 7000));

  using namespace std::chrono_literals;
  const NamedAddress named[] = {
      {ip("8.8.8.8"), 1s}, {ip("8.8.8.8"), 600s}, {ip("1.1.1.1"), 600s}, {ip("10.9.9.9"), 600s}};
  ok(vm.network.allow_addresses(named));
  ok(vm.network.allow_addresses(named));
  CHECK(talks(vm, eight, "8.8.8.8", 7000));
  CHECK_FALSE(reaches(vm, one, "1.1.1.1", 7000));
  CHECK_FALSE(reaches(vm, secret, "10.9.9.9", 7000));

  // What was opened by a name goes on behind its lifetime; a new connection does not begin.
  const NamedAddress short_lived[] = {{ip("8.8.8.8"), 1s}};
  ok(vm.network.allow_addresses(short_lived));
  const auto end = std::chrono::steady_clock::now() + surely;
  std::uint16_t port = 4001;
  while (reaches(vm, eight, "8.8.8.8", 7000, port++) && std::chrono::steady_clock::now() < end) {
  }
  CHECK_FALSE(reaches(vm, eight, "8.8.8.8", 7000, port));
  CHECK(talks(vm, eight, "8.8.8.8", 7000, 4000));

  // A change looks at it anew.
  ok(vm.network.change(by_name));
  CHECK_FALSE(reaches(vm, eight, "8.8.8.8", 7000, 4000));
}

TEST_CASE("a change of mode ends what is not allowed any more", "[network]") {
  NEEDS_NETWORK_NAMESPACES();
  Lab lab;
  const auto host = Lab::host();
  Vm vm(host, "10.100.0.5", internet);
  Vm other(host, "10.100.0.6", internal(1));
  auto web = lab.tcp_outside("1.1.1.1", 80);
  auto server = lab.udp_outside("8.8.8.8", 7000);
  const auto connected = vm.guest.connect(ip("1.1.1.1"), 80);
  REQUIRE(connected);
  auto connection = web.accept();
  REQUIRE(connection);
  vm.guest.send_udp(ip("8.8.8.8"), 7000, "ask");
  const auto asked = server.receive();
  REQUIRE(asked);

  const auto change = GENERATE(0, 1, 2, 3);
  if (change == 0) ok(vm.network.change(isolated));
  if (change == 1) ok(vm.network.change(internal(1)));
  if (change == 2)
    ok(vm.network.change({.mode = NetworkMode::internet, .deny_cidrs = {{ip("1.1.1.1"), 32}, {ip("8.8.8.8"), 32}}}));
  if (change == 3) ok(vm.network.detach());
  vm.guest.send_tcp(ip("1.1.1.1"), 80, 5000, tcp::ack | tcp::psh, connected->acknowledged, connected->sequence + 1,
                    "more");
  CHECK_FALSE(connection->read(quiet));
  vm.guest.drain();
  // Nor what comes back.
  server.send({"late", asked->from, asked->port});
  CHECK_FALSE(vm.guest.receive_udp(quiet));
  CHECK_FALSE(reaches(vm, server, "8.8.8.8", 7000));
  CHECK(reaches(vm, other) == (change == 1));

  if (change == 3) return;
  ok(vm.network.change(internet));
  CHECK(talks(vm, server, "8.8.8.8", 7000, 4100));
  CHECK_FALSE(reaches(other, vm));
}

TEST_CASE("a group's membership changes while it runs", "[network]") {
  NEEDS_NETWORK_NAMESPACES();
  Lab lab;
  const auto host = Lab::host();
  Vm a(host, "10.100.0.5", internal(1));
  Vm b(host, "10.100.0.6", internal(2));
  CHECK_FALSE(reaches(a, b));
  ok(b.network.change(internal(1)));
  CHECK(reaches(a, b));
  CHECK(reaches(b, a));
  ok(a.network.change(internal(3)));
  CHECK_FALSE(reaches(a, b));
  CHECK_FALSE(reaches(b, a));
}

}  // namespace
}  // namespace nanobox
