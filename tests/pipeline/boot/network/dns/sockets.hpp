#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <array>
#include <catch2/catch.hpp>
#include <cerrno>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "config/unique_fd.hpp"
#include "pipeline/boot/network/dns/message.hpp"
#include "pipeline/boot/network/dns/upstream.hpp"
#include "tests/pipeline/boot/network/dns/wire.hpp"

/// Both ends of the forwarder on loopback: each test is its clients and its upstreams, and waits for what it needs.
namespace nanobox::test {

inline sockaddr_in loopback(std::uint32_t address, std::uint16_t port) {
  sockaddr_in socket_address{};
  socket_address.sin_family = AF_INET;
  socket_address.sin_addr.s_addr = htonl(address);
  socket_address.sin_port = htons(port);
  return socket_address;
}

inline const sockaddr* raw(const sockaddr_in& address) {
  return reinterpret_cast<const sockaddr*>(&address);
}

/// Reading from it fails after a time that only a broken forwarder takes.
inline UniqueFd bound_socket(int type, std::uint32_t address, std::uint16_t port = 0) {
  UniqueFd socket(::socket(AF_INET, type | SOCK_CLOEXEC, 0));
  REQUIRE(socket);
  const timeval patience{.tv_sec = 60, .tv_usec = 0};
  REQUIRE(::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0);
  const int on = 1;
  REQUIRE(::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0);
  const auto to = loopback(address, port);
  if (::bind(socket.get(), raw(to), sizeof to) != 0) return UniqueFd();
  return socket;
}

inline std::uint16_t port_of(const UniqueFd& socket) {
  sockaddr_in address{};
  socklen_t length = sizeof address;
  REQUIRE(::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &length) == 0);
  return ntohs(address.sin_port);
}

/// UDP and TCP on one port, as resolvers have it.
struct BoundPair {
  UniqueFd udp, tcp;
  std::uint16_t port = 0;

  static BoundPair make(std::uint32_t address) {
    for (;;) {
      BoundPair pair{.udp = bound_socket(SOCK_DGRAM, address), .tcp = {}, .port = 0};
      pair.port = port_of(pair.udp);
      pair.tcp = bound_socket(SOCK_STREAM, address, pair.port);
      if (pair.tcp) return pair;
    }
  }
};

inline DnsMessage parsed(std::span<const std::byte> bytes) {
  auto message = parse_dns_message(bytes);
  REQUIRE(message);
  return std::move(*message);
}

/// A TCP connection that carries messages with their lengths.
class Stream {
public:
  explicit Stream(UniqueFd socket) : socket(std::move(socket)) {}

  void send_bytes(std::span<const std::byte> bytes) const {
    REQUIRE(::send(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size()));
  }
  static Bytes framed(const Bytes& message) {
    return Bytes{std::byte(message.size() >> 8), std::byte(message.size())} + message;
  }
  void send(const DnsMessage& message) const { send_bytes(framed(write_dns_message(message))); }
  DnsMessage receive() const {
    const auto length = exactly(2);
    return parsed(exactly(std::to_integer<std::size_t>(length[0]) << 8 | std::to_integer<std::size_t>(length[1])));
  }
  /// Waits until the other side ends it, in order or not.
  bool is_ended() const {
    std::byte one;
    const auto count = ::recv(socket.get(), &one, 1, 0);
    return count == 0 || (count < 0 && errno == ECONNRESET);
  }

  UniqueFd socket;

private:
  Bytes exactly(std::size_t count) const {
    Bytes bytes(count);
    REQUIRE(::recv(socket.get(), bytes.data(), count, MSG_WAITALL) == static_cast<ssize_t>(count));
    return bytes;
  }
};

/// A resolver that says what the test wants.
class FakeUpstream {
public:
  FakeUpstream() { REQUIRE(::listen(pair_.tcp.get(), 16) == 0); }

  struct Asked {
    DnsMessage query;
    sockaddr_in from;
  };

  UpstreamAddress address() const { return *parse_upstream("127.0.0.1", pair_.port); }

  /// Waits for the next question.
  Asked next() const {
    std::array<std::byte, 4096> bytes;
    sockaddr_in from{};
    socklen_t length = sizeof from;
    const auto count =
        ::recvfrom(pair_.udp.get(), bytes.data(), bytes.size(), 0, reinterpret_cast<sockaddr*>(&from), &length);
    REQUIRE(count > 0);
    return {parsed(std::span(bytes).first(static_cast<std::size_t>(count))), from};
  }
  Stream next_connection() const {
    UniqueFd socket(::accept4(pair_.tcp.get(), nullptr, nullptr, SOCK_CLOEXEC));
    REQUIRE(socket);
    return Stream(std::move(socket));
  }

  void send(const Asked& asked, const DnsMessage& answer) const { send_from(pair_.udp, asked, answer); }
  static void send_from(const UniqueFd& socket, const Asked& asked, const DnsMessage& answer) {
    const auto bytes = write_dns_message(answer);
    REQUIRE(::sendto(socket.get(), bytes.data(), bytes.size(), 0, raw(asked.from), sizeof asked.from) > 0);
  }
  /// Answers the next question with these records.
  void answer(std::vector<DnsRecord> records) const {
    const auto asked = next();
    send(asked, answer_to(asked.query, std::move(records)));
  }
  static DnsMessage answer_to(const DnsMessage& query, std::vector<DnsRecord> records) {
    auto answer = dns_reply(query, DnsRcode::no_error);
    answer.answers = std::move(records);
    return answer;
  }

private:
  BoundPair pair_ = BoundPair::make(INADDR_LOOPBACK);
};

/// A guest, by the address it asks from.
class FakeClient {
public:
  FakeClient(std::uint32_t address, std::uint16_t port) : address_(address), port_(port) {
    udp_ = bound_socket(SOCK_DGRAM, address);
    const auto to = loopback(INADDR_LOOPBACK, port);
    REQUIRE(::connect(udp_.get(), raw(to), sizeof to) == 0);
  }

  void send_bytes(const Bytes& bytes) const {
    REQUIRE(::send(udp_.get(), bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
  }
  void send(const DnsMessage& query) const { send_bytes(write_dns_message(query)); }
  Bytes receive_bytes() const {
    Bytes bytes(65'536);
    const auto count = ::recv(udp_.get(), bytes.data(), bytes.size(), 0);
    REQUIRE(count > 0);
    bytes.resize(static_cast<std::size_t>(count));
    return bytes;
  }
  DnsMessage receive() const { return parsed(receive_bytes()); }
  bool has_nothing() const {
    std::byte one;
    return ::recv(udp_.get(), &one, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN;
  }
  Stream connect() const {
    auto socket = bound_socket(SOCK_STREAM, address_);
    const auto to = loopback(INADDR_LOOPBACK, port_);
    REQUIRE(::connect(socket.get(), raw(to), sizeof to) == 0);
    return Stream(std::move(socket));
  }

private:
  std::uint32_t address_;
  std::uint16_t port_;
  UniqueFd udp_;
};

}  // namespace nanobox::test
