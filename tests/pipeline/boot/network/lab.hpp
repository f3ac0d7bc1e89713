#pragma once

#include <catch2/catch.hpp>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "pipeline/boot/network/host_network.hpp"
#include "pipeline/boot/network/network_namespace.hpp"
#include "pipeline/boot/network/vm_network.hpp"

namespace nanobox {

/// Ends the test, successfully and with a word, where this user cannot make network namespaces.
#define NEEDS_NETWORK_NAMESPACES()                                                      \
  do {                                                                                  \
    if (!can_make_network_namespaces()) {                                               \
      WARN("skipped: CAP_NET_ADMIN and CAP_SYS_ADMIN are missing, nothing was tested"); \
      return;                                                                           \
    }                                                                                   \
  } while (false)
bool can_make_network_namespaces();

template <class T>
T ok(Result<T> result) {
  if (!result) FAIL(describe(result.error()));
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

std::uint32_t ip(std::string_view text);

using Milliseconds = std::chrono::milliseconds;
inline constexpr Milliseconds surely{5000};  ///< for what must come
inline constexpr Milliseconds quiet{120};    ///< for what must not

/// A kernel's socket in one of the lab's namespaces.
class Socket {
public:
  explicit Socket(UniqueFd fd) : fd_(std::move(fd)) {}
  struct Datagram {
    std::string text;
    std::uint32_t from = 0;
    std::uint16_t port = 0;
  };
  std::optional<Datagram> receive(Milliseconds patience = surely);
  void send(const Datagram& to);
  /// Of a listener: the next connection.
  std::optional<Socket> accept(Milliseconds patience = surely);
  /// Of a connection.
  std::optional<std::string> read(Milliseconds patience = surely);
  int fd() const { return fd_.get(); }

private:
  UniqueFd fd_;
};

/// A "host" namespace in which the test's own thread is, and one that plays the internet and private networks around
/// it: up0 (203.0.113.2) to up1 (203.0.113.1). The machine's own namespace is left at once and never touched.
class Lab {
public:
  Lab();
  ~Lab();
  Lab(const Lab&) = delete;
  Lab& operator=(const Lab&) = delete;

  NetworkNamespace& outside() { return outside_; }
  Socket udp_outside(std::string_view address, std::uint16_t port);
  Socket tcp_outside(std::string_view address, std::uint16_t port);
  static Socket udp_here(std::string_view address, std::uint16_t port);
  static Socket tcp_here(std::string_view address, std::uint16_t port);

  static inline const Ipv4Subnet subnet{0x0A640000, 16};  // 10.100.0.0/16
  /// A host with a bridge and a table, that forwards.
  static HostNetwork host(std::string bridge = "nanobox-br0", Ipv4Subnet of = subnet, NetworkLimits limits = {});

private:
  NetworkNamespace machine_;
  NetworkNamespace outside_;
};

/// A frame that came out of the TAP.
struct Packet {
  std::uint16_t ether_type = 0;
  std::string target_mac;  ///< six bytes
  std::string source_mac;
  std::uint8_t protocol = 0;  ///< 1 ICMP, 6 TCP, 17 UDP
  std::uint32_t from = 0;
  std::uint32_t to = 0;
  std::uint16_t from_port = 0;
  std::uint16_t to_port = 0;
  std::uint8_t icmp_type = 0;
  std::uint8_t tcp_flags = 0;
  std::uint32_t sequence = 0;
  std::uint32_t acknowledged = 0;
  std::string payload;
};

namespace tcp {
inline constexpr std::uint8_t fin = 1, syn = 2, rst = 4, psh = 8, ack = 16;
}

/// Plays the guest: speaks Ethernet on the TAP's descriptor, byte by byte what it wants.
class FakeGuest {
public:
  explicit FakeGuest(VmNetwork& network);

  std::uint32_t address = vm_side::guest;  ///< what it says it is
  std::string mac = std::string("\x02\x6e\x62\x00\x00\x01", 6);

  void send_frame(std::uint16_t ether_type, const std::string& body, const std::string& to_mac = {});
  void send_udp(std::uint32_t to, std::uint16_t port, const std::string& text, std::uint16_t from_port = 4000);
  void send_ping(std::uint32_t to, std::uint16_t number = 1);
  void send_tcp(std::uint32_t to, std::uint16_t port, std::uint16_t from_port, std::uint8_t flags,
                std::uint32_t sequence, std::uint32_t acknowledged, const std::string& text = {});
  /// ARP: who has `target`? says `address`. @param operation  2 for an answer nobody asked for
  void send_arp(std::uint32_t target, std::uint16_t operation = 1);

  std::optional<Packet> receive(Milliseconds patience = surely);
  /// The next UDP datagram; other packets are dropped.
  std::optional<Packet> receive_udp(Milliseconds patience = surely);
  std::optional<Packet> receive_tcp(Milliseconds patience = surely);
  std::optional<Packet> receive_ping(Milliseconds patience = surely);
  /// Connects by three steps; nothing when no SYN-ACK came. @returns the last packet: `acknowledged` is our next
  /// sequence
  std::optional<Packet> connect(std::uint32_t to, std::uint16_t port, std::uint16_t from_port = 5000,
                                Milliseconds patience = surely);
  /// Drops what waits.
  void drain();

private:
  std::optional<Packet> receive_protocol(std::uint8_t protocol, Milliseconds patience);
  void send_ip(std::uint8_t protocol, std::uint32_t to, const std::string& body);
  UniqueFd tap_;
};

/// A ready VM with its guest.
struct Vm {
  VmNetwork network;
  FakeGuest guest;
  std::uint32_t address;

  Vm(const HostNetwork& host, std::string_view outer, const NetworkPolicy& policy);
};

}  // namespace nanobox
