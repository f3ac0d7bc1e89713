#include <algorithm>
#include <thread>

#include "tests/pipeline/boot/network/lab.hpp"

namespace nanobox {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

constexpr double frame_overhead = 14 + 20 + 8;
constexpr Milliseconds measured{3000};

/// Datagrams of 1400 bytes as fast as they are taken: megabits a second that arrive, frames included.
double sent_by_guest(Vm& vm, Socket& server) {
  const std::string text(1400, 'x');
  std::uint64_t arrived = 0;
  auto begin = Clock::now();
  bool warm = false;
  while (seconds_since(begin) < measured.count() / 1e3) {
    for (int i = 0; i < 8; ++i) vm.guest.send_udp(ip("8.8.8.8"), 7000, text);
    while (server.receive(Milliseconds{0})) ++arrived;
    if (!warm && seconds_since(begin) > 0.3) {
      warm = true;
      arrived = 0;
      begin = Clock::now();
    }
  }
  return static_cast<double>(arrived) * (1400 + frame_overhead) * 8 / seconds_since(begin) / 1e6;
}

double sent_to_guest(Vm& vm, Socket& server) {
  vm.guest.send_udp(ip("8.8.8.8"), 7000, "ask");
  const auto asked = server.receive();
  REQUIRE(asked);
  const std::string text(1400, 'x');
  std::uint64_t arrived = 0;
  auto begin = Clock::now();
  bool warm = false;
  while (seconds_since(begin) < measured.count() / 1e3) {
    for (int i = 0; i < 8; ++i) server.send({text, asked->from, asked->port});
    while (vm.guest.receive(Milliseconds{0})) ++arrived;
    if (!warm && seconds_since(begin) > 0.3) {
      warm = true;
      arrived = 0;
      begin = Clock::now();
    }
  }
  return static_cast<double>(arrived) * (1400 + frame_overhead) * 8 / seconds_since(begin) / 1e6;
}

TEST_CASE("the rate holds both ways, and changes while it runs", "[network]") {
  NEEDS_NETWORK_NAMESPACES();
  Lab lab;
  const auto host = Lab::host();
  Vm vm(host, "10.100.0.5", {.mode = NetworkMode::internet, .rate_limit_mbps = 8});
  auto server = lab.udp_outside("8.8.8.8", 7000);
  CHECK(sent_by_guest(vm, server) == Approx(8).epsilon(0.15));
  CHECK(sent_to_guest(vm, server) == Approx(8).epsilon(0.15));
  ok(vm.network.change({.mode = NetworkMode::internet, .rate_limit_mbps = 20}));
  CHECK(sent_by_guest(vm, server) == Approx(20).epsilon(0.15));
  CHECK(sent_to_guest(vm, server) == Approx(20).epsilon(0.15));
  ok(vm.network.change({.mode = NetworkMode::internet}));
  CHECK(sent_by_guest(vm, server) > 25);
}

TEST_CASE("small packets are limited in number", "[network]") {
  NEEDS_NETWORK_NAMESPACES();
  Lab lab;
  const auto host = Lab::host("nanobox-br0", Lab::subnet, {.packets_per_second = 500});
  Vm vm(host, "10.100.0.5", {.mode = NetworkMode::internet});
  auto server = lab.udp_outside("8.8.8.8", 7000);
  std::uint64_t arrived = 0;
  const auto begin = Clock::now();
  while (seconds_since(begin) < 2) {
    for (int i = 0; i < 8; ++i) vm.guest.send_udp(ip("8.8.8.8"), 7000, "x");
    while (server.receive(Milliseconds{0})) ++arrived;
  }
  const auto second = static_cast<double>(arrived) / seconds_since(begin);
  CHECK(second == Approx(500).epsilon(0.15));
}

TEST_CASE("a sandbox has so many connections, and its neighbour its own", "[network]") {
  NEEDS_NETWORK_NAMESPACES();
  Lab lab;
  const auto host = Lab::host("nanobox-br0", Lab::subnet, {.max_connections = 50});
  Vm vm(host, "10.100.0.5", {.mode = NetworkMode::internet});
  Vm neighbour(host, "10.100.0.6", {.mode = NetworkMode::internet});
  auto server = lab.udp_outside("8.8.8.8", 7000);
  for (std::uint16_t port = 10000; port < 10200; ++port) vm.guest.send_udp(ip("8.8.8.8"), 7000, "x", port);
  int arrived = 0;
  while (server.receive(quiet)) ++arrived;
  CHECK(arrived == 50);
  neighbour.guest.send_udp(ip("8.8.8.8"), 7000, "x");
  CHECK(server.receive());
  // Those that are open go on.
  vm.guest.send_udp(ip("8.8.8.8"), 7000, "again", 10000);
  CHECK(server.receive());
}

}  // namespace
}  // namespace nanobox
