#include "tests/pipeline/boot/network/lab.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <thread>

namespace nanobox {
namespace {

NetworkNamespace leave_machine() {
  auto machine = ok(NetworkNamespace::current());
  if (::unshare(CLONE_NEWNET) != 0) FAIL("unshare: " << errno);
  return machine;
}

bool readable(int fd, Milliseconds patience) {
  pollfd poll{.fd = fd, .events = POLLIN, .revents = 0};
  return ::poll(&poll, 1, static_cast<int>(patience.count())) == 1;
}

sockaddr_in socket_address(std::uint32_t address, std::uint16_t port) {
  sockaddr_in made{};
  made.sin_family = AF_INET;
  made.sin_addr.s_addr = htonl(address);
  made.sin_port = htons(port);
  return made;
}

Result<UniqueFd> bound(int type, std::string_view address, std::uint16_t port) {
  UniqueFd fd(::socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const auto name = socket_address(ip(address), port);
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name) != 0 ||
      (type == SOCK_STREAM && ::listen(fd.get(), 64) != 0))
    return fail(errno_error(errno, "bind", std::string(address)));
  return fd;
}

std::string big16(std::uint32_t value) {
  return {static_cast<char>(value >> 8), static_cast<char>(value)};
}

std::string big32(std::uint32_t value) {
  return big16(value >> 16) + big16(value & 0xffff);
}

std::uint32_t number_at(const std::string& bytes, std::size_t at, std::size_t length) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < length && at + i < bytes.size(); ++i)
    value = value << 8 | static_cast<unsigned char>(bytes[at + i]);
  return value;
}

std::uint16_t checksum(std::string bytes) {
  if (bytes.size() % 2 != 0) bytes += '\0';
  std::uint32_t sum = 0;
  for (std::size_t at = 0; at < bytes.size(); at += 2) sum += number_at(bytes, at, 2);
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(~sum);
}

Packet parsed(const std::string& frame) {
  Packet packet;
  packet.target_mac = frame.substr(0, 6);
  packet.source_mac = frame.substr(6, 6);
  packet.ether_type = static_cast<std::uint16_t>(number_at(frame, 12, 2));
  const auto body = frame.substr(14);
  packet.payload = body;
  if (packet.ether_type != 0x0800) return packet;
  const std::size_t header = (number_at(body, 0, 1) & 15) * 4;
  packet.protocol = static_cast<std::uint8_t>(number_at(body, 9, 1));
  packet.from = number_at(body, 12, 4);
  packet.to = number_at(body, 16, 4);
  const auto inner = body.substr(header, number_at(body, 2, 2) - header);
  if (packet.protocol == IPPROTO_ICMP) packet.icmp_type = static_cast<std::uint8_t>(number_at(inner, 0, 1));
  if (packet.protocol != IPPROTO_UDP && packet.protocol != IPPROTO_TCP) return packet;
  packet.from_port = static_cast<std::uint16_t>(number_at(inner, 0, 2));
  packet.to_port = static_cast<std::uint16_t>(number_at(inner, 2, 2));
  if (packet.protocol == IPPROTO_UDP) {
    packet.payload = inner.substr(8);
  } else {
    packet.sequence = number_at(inner, 4, 4);
    packet.acknowledged = number_at(inner, 8, 4);
    packet.tcp_flags = static_cast<std::uint8_t>(number_at(inner, 13, 1));
    packet.payload = inner.substr((number_at(inner, 12, 1) >> 4) * 4);
  }
  return packet;
}

}  // namespace

bool can_make_network_namespaces() {
  const auto child = ::fork();
  if (child == 0) ::_exit(::unshare(CLONE_NEWNET) == 0 && ::access("/dev/net/tun", R_OK | W_OK) == 0 ? 0 : 1);
  int status = 0;
  return ::waitpid(child, &status, 0) == child && status == 0;
}

std::uint32_t ip(std::string_view text) {
  in_addr address{};
  if (::inet_pton(AF_INET, std::string(text).c_str(), &address) != 1) FAIL("no address: " << text);
  return ntohl(address.s_addr);
}

std::optional<Socket::Datagram> Socket::receive(Milliseconds patience) {
  if (!readable(fd_.get(), patience)) return std::nullopt;
  char text[65536];
  sockaddr_in from{};
  socklen_t length = sizeof from;
  const auto size = ::recvfrom(fd_.get(), text, sizeof text, 0, reinterpret_cast<sockaddr*>(&from), &length);
  if (size < 0) return std::nullopt;
  return Datagram{std::string(text, static_cast<std::size_t>(size)), ntohl(from.sin_addr.s_addr), ntohs(from.sin_port)};
}

void Socket::send(const Datagram& to) {
  const auto name = socket_address(to.from, to.port);
  ::sendto(fd_.get(), to.text.data(), to.text.size(), 0, reinterpret_cast<const sockaddr*>(&name), sizeof name);
}

std::optional<Socket> Socket::accept(Milliseconds patience) {
  if (!readable(fd_.get(), patience)) return std::nullopt;
  UniqueFd connection(::accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!connection) return std::nullopt;
  return Socket(std::move(connection));
}

std::optional<std::string> Socket::read(Milliseconds patience) {
  if (!readable(fd_.get(), patience)) return std::nullopt;
  char text[65536];
  const auto size = ::recv(fd_.get(), text, sizeof text, 0);
  if (size < 0) return std::nullopt;
  return std::string(text, static_cast<std::size_t>(size));
}

Lab::Lab() : machine_(leave_machine()), outside_(ok(NetworkNamespace::make())) {
  auto netlink = ok(Netlink::open());
  // As strict as hosts may be.
  ok(write_sysctl("net/ipv4/conf/all/rp_filter", "1"));
  ok(netlink.set_up(ok(netlink.find_link("lo"))->index));
  ok(netlink.make_veth({.name = "up0",
                        .mac = "02:00:00:00:00:01",
                        .peer_name = "up1",
                        .peer_mac = "02:00:00:00:00:02",
                        .peer_namespace = outside_.fd()}));
  const auto up = ok(netlink.find_link("up0"))->index;
  ok(netlink.add_address(up, ip("203.0.113.2"), 24));
  ok(netlink.set_up(up));
  ok(outside_.run([]() -> Result<void> {
    auto inner = NANOBOX_TRY(Netlink::open());
    const auto lo = NANOBOX_TRY(inner.find_link("lo"))->index;
    NANOBOX_TRY(inner.set_up(lo));
    for (const auto* address : {"8.8.8.8", "1.1.1.1", "198.51.100.7", "10.9.9.9", "192.168.7.7", "172.20.0.1",
                                "100.64.1.1", "169.254.169.254"})
      NANOBOX_TRY(inner.add_address(lo, ip(address), 32));
    const auto link = NANOBOX_TRY(inner.find_link("up1"))->index;
    NANOBOX_TRY(inner.add_address(link, ip("203.0.113.1"), 24));
    NANOBOX_TRY(inner.set_up(link));
    return inner.put_route({.destination = {0, 0}, .link = link, .via = ip("203.0.113.2")});
  }));
  ok(netlink.put_route({.destination = {ip("203.0.113.0"), 24}, .link = up}));
  ok(netlink.put_route({.destination = {0, 0}, .link = up, .via = ip("203.0.113.1")}));
}

Lab::~Lab() {
  if (::setns(machine_.fd(), CLONE_NEWNET) != 0) std::abort();
}

Socket Lab::udp_outside(std::string_view address, std::uint16_t port) {
  return Socket(ok(outside_.run([&] { return bound(SOCK_DGRAM, address, port); })));
}

Socket Lab::tcp_outside(std::string_view address, std::uint16_t port) {
  return Socket(ok(outside_.run([&] { return bound(SOCK_STREAM, address, port); })));
}

Socket Lab::udp_here(std::string_view address, std::uint16_t port) {
  return Socket(ok(bound(SOCK_DGRAM, address, port)));
}

Socket Lab::tcp_here(std::string_view address, std::uint16_t port) {
  return Socket(ok(bound(SOCK_STREAM, address, port)));
}

HostNetwork Lab::host(std::string bridge, Ipv4Subnet of, NetworkLimits limits) {
  ok(forward_packets());
  return ok(HostNetwork::set_up({.bridge_name = std::move(bridge), .subnet = of, .limits = limits}));
}

// The kernel brings a link's queue to life a little after its carrier: what is sent before is lost.
FakeGuest::FakeGuest(VmNetwork& network) : tap_(ok(network.open_tap(TapFrames::bare))) {
  const auto end = std::chrono::steady_clock::now() + surely;
  do send_arp(vm_side::gateway);
  while (!receive(Milliseconds{20}) && std::chrono::steady_clock::now() < end);
  drain();
}

void FakeGuest::send_frame(std::uint16_t ether_type, const std::string& body, const std::string& to_mac) {
  const auto frame =
      (to_mac.empty() ? std::string("\x02\x6e\x62\x00\x00\x02", 6) : to_mac) + mac + big16(ether_type) + body;
  // A full queue: the frame is lost, as on a wire.
  static_cast<void>(!::write(tap_.get(), frame.data(), frame.size()));
}

void FakeGuest::send_ip(std::uint8_t protocol, std::uint32_t to, const std::string& body) {
  std::string header = big16(0x4500) + big16(static_cast<std::uint32_t>(20 + body.size())) + big32(0x4000) +
                       big16(0x4000U | protocol) + big16(0) + big32(address) + big32(to);
  header.replace(10, 2, big16(checksum(header)));
  send_frame(0x0800, header + body);
}

void FakeGuest::send_udp(std::uint32_t to, std::uint16_t port, const std::string& text, std::uint16_t from_port) {
  const auto length = big16(static_cast<std::uint32_t>(8 + text.size()));
  auto body = big16(from_port) + big16(port) + length + big16(0) + text;
  body.replace(6, 2, big16(checksum(big32(address) + big32(to) + big16(IPPROTO_UDP) + length + body)));
  send_ip(IPPROTO_UDP, to, body);
}

void FakeGuest::send_ping(std::uint32_t to, std::uint16_t number) {
  std::string body = big16(0x0800) + big16(0) + big16(77) + big16(number) + "ping";
  body.replace(2, 2, big16(checksum(body)));
  send_ip(IPPROTO_ICMP, to, body);
}

void FakeGuest::send_tcp(std::uint32_t to, std::uint16_t port, std::uint16_t from_port, std::uint8_t flags,
                         std::uint32_t sequence, std::uint32_t acknowledged, const std::string& text) {
  auto body = big16(from_port) + big16(port) + big32(sequence) + big32(acknowledged) + big16(0x5000U | flags) +
              big16(64000) + big32(0) + text;
  const auto pseudo = big32(address) + big32(to) + big16(IPPROTO_TCP) + big16(static_cast<std::uint32_t>(body.size()));
  body.replace(16, 2, big16(checksum(pseudo + body)));
  send_ip(IPPROTO_TCP, to, body);
}

void FakeGuest::send_arp(std::uint32_t target, std::uint16_t operation) {
  const std::string nobody(6, '\0');
  const std::string everybody(6, '\xff');
  send_frame(
      0x0806,
      big16(1) + big16(0x0800) + big16(0x0604) + big16(operation) + mac + big32(address) + nobody + big32(target),
      everybody);
}

std::optional<Packet> FakeGuest::receive(Milliseconds patience) {
  char frame[65536];
  if (!readable(tap_.get(), patience)) return std::nullopt;
  const auto size = ::read(tap_.get(), frame, sizeof frame);
  if (size < 14) return std::nullopt;
  return parsed(std::string(frame, static_cast<std::size_t>(size)));
}

std::optional<Packet> FakeGuest::receive_protocol(std::uint8_t protocol, Milliseconds patience) {
  const auto end = std::chrono::steady_clock::now() + patience;
  for (;;) {
    const auto left = std::chrono::ceil<Milliseconds>(end - std::chrono::steady_clock::now());
    auto packet = receive(std::max(left, Milliseconds{0}));
    if (!packet || packet->protocol == protocol) return packet;
  }
}

std::optional<Packet> FakeGuest::receive_udp(Milliseconds patience) {
  return receive_protocol(IPPROTO_UDP, patience);
}

std::optional<Packet> FakeGuest::receive_tcp(Milliseconds patience) {
  return receive_protocol(IPPROTO_TCP, patience);
}

std::optional<Packet> FakeGuest::receive_ping(Milliseconds patience) {
  return receive_protocol(IPPROTO_ICMP, patience);
}

std::optional<Packet> FakeGuest::connect(std::uint32_t to, std::uint16_t port, std::uint16_t from_port,
                                         Milliseconds patience) {
  send_tcp(to, port, from_port, tcp::syn, 1000, 0);
  auto answer = receive_tcp(patience);
  if (!answer || answer->tcp_flags != (tcp::syn | tcp::ack)) return std::nullopt;
  send_tcp(to, port, from_port, tcp::ack, answer->acknowledged, answer->sequence + 1);
  return answer;
}

void FakeGuest::drain() {
  while (receive(Milliseconds{0})) {
  }
}

namespace {

bool runs(std::string_view link) {
  const UniqueFd any(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request{};
  std::copy_n(link.data(), std::min<std::size_t>(link.size(), IFNAMSIZ - 1), request.ifr_name);
  return ::ioctl(any.get(), SIOCGIFFLAGS, &request) == 0 && (request.ifr_flags & IFF_RUNNING) != 0;
}

VmNetwork made_and_running(const HostNetwork& host) {
  auto network = ok(VmNetwork::make(host.vm_settings()));
  const NetworkNamespace inside(UniqueFd(::dup(network.namespace_fd())));
  const auto end = std::chrono::steady_clock::now() + surely;
  while (std::chrono::steady_clock::now() < end) {
    if (runs(network.link()) && ok(inside.run([]() -> Result<bool> { return runs(vm_side::out); }))) break;
    std::this_thread::sleep_for(Milliseconds{1});
  }
  return network;
}

}  // namespace

Vm::Vm(const HostNetwork& host, std::string_view outer, const NetworkPolicy& policy)
    : network(made_and_running(host)), guest(network), address(ip(outer)) {
  ok(network.attach(address, policy));
}

}  // namespace nanobox
