#include "pipeline/cluster/identity/tls_stream.hpp"

#include <sys/socket.h>

#include <array>
#include <catch2/catch.hpp>
#include <iostream>
#include <thread>
#include <vector>

#include "cluster_fixture.hpp"

using namespace nanobox;
using namespace nanobox::test;
using namespace std::chrono_literals;

namespace {

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

std::string read_text(TlsStream& stream) {
  std::array<std::byte, 256> buffer{};
  const auto count = stream.read(buffer);
  return count ? std::string(reinterpret_cast<const char*>(buffer.data()), *count)
               : "error: " + describe(count.error());
}

Error read_error(TlsStream& stream) {
  std::array<std::byte, 256> buffer{};
  const auto count = stream.read(buffer);
  return count ? Error{.code = ErrorCode::none_reserved, .attempted = "", .subject = "", .reason = "", .mend = ""}
               : count.error();
}

struct MutualPair : Authority {
  Pair open(const PairOptions& options = {}) const {
    return shake_hands(TlsContext::mutual_client(identity("node-1"), "a").value(),
                       TlsContext::mutual_server(identity("control-1", NodeRole::control), {"b", "a"}).value(),
                       options);
  }
};

/// Sends `total` bytes of a pattern; no multiple of a record.
bool send_pattern(ByteStream& stream, std::size_t total, std::size_t piece) {
  std::vector<std::byte> buffer(piece);
  for (std::size_t sent = 0; sent < total;) {
    const auto now = std::min(piece, total - sent);
    for (std::size_t i = 0; i < now; ++i) buffer[i] = static_cast<std::byte>((sent + i) * 31 >> 3);
    if (!stream.write(std::span(buffer).first(now))) return false;
    sent += now;
  }
  return true;
}

bool receive_pattern(ByteStream& stream, std::size_t total) {
  std::vector<std::byte> buffer(std::size_t{256} << 10);
  for (std::size_t had = 0; had < total;) {
    const auto count = stream.read(buffer);
    if (!count || *count == 0) return false;
    for (std::size_t i = 0; i < *count; ++i)
      if (buffer[i] != static_cast<std::byte>((had + i) * 31 >> 3)) return false;
    had += *count;
  }
  return true;
}

void echo(ByteStream& stream) {
  std::vector<std::byte> buffer(std::size_t{128} << 10);
  for (;;) {
    const auto count = stream.read(buffer);
    if (!count || *count == 0) return;
    if (!stream.write(std::span(buffer).first(*count))) return;
  }
}

}  // namespace

TEST_CASE_METHOD(MutualPair, "both ends of a mutual connection know who the other is and what it speaks", "[tls]") {
  auto pair = open();
  REQUIRE(pair.client);
  REQUIRE(pair.server);
  CHECK((*pair.client)->peer() == PeerIdentity{"control-1", NodeRole::control});
  CHECK((*pair.server)->peer() == PeerIdentity{"node-1", NodeRole::node});
  CHECK((*pair.client)->protocol() == "a");
  CHECK((*pair.server)->protocol() == "a");
  REQUIRE((*pair.client)->write(bytes_of("hello")));
  CHECK(read_text(**pair.server) == "hello");
}

TEST_CASE_METHOD(MutualPair, "a peer that is not who the rule wants is refused", "[tls]") {
  const auto no_control = open({.server_rule = {.role = NodeRole::control}});
  REQUIRE_FALSE(no_control.server);
  CHECK(no_control.server.error().code == ErrorCode::peer_untrusted);
  const auto other_id = open({.client_rule = {.node_id = "control-2"}});
  REQUIRE_FALSE(other_id.client);
  CHECK(other_id.client.error().code == ErrorCode::peer_untrusted);
  CHECK(other_id.client.error().reason == "it is node 'control-1', not 'control-2'");
}

TEST_CASE_METHOD(MutualPair, "a client of another CA is refused, and hears why", "[tls]") {
  const Authority foreign;
  const auto pair = shake_hands(TlsContext::mutual_client(foreign.identity("node-1")).value(),
                                TlsContext::mutual_server(identity("control-1", NodeRole::control)).value());
  REQUIRE_FALSE(pair.client);
  REQUIRE_FALSE(pair.server);
  CHECK(pair.client.error().code == ErrorCode::peer_untrusted);
  CHECK(pair.server.error().code == ErrorCode::peer_untrusted);
}

TEST_CASE_METHOD(MutualPair, "a server refuses a client whose certificate has expired, and the client hears it",
                 "[tls]") {
  const auto pair = shake_hands(
      TlsContext::mutual_client(identity("node-1", NodeRole::node, wall_now() - std::chrono::hours(24 * 31))).value(),
      TlsContext::mutual_server(identity("control-1", NodeRole::control)).value());
  REQUIRE_FALSE(pair.server);
  CHECK(pair.server.error().code == ErrorCode::peer_untrusted);
  REQUIRE(pair.client);
  CHECK(read_error(**pair.client).code == ErrorCode::peer_untrusted);
}

TEST_CASE_METHOD(MutualPair, "a client without a certificate is refused by a mutual server, not by an open one",
                 "[tls]") {
  const auto control = identity("control-1", NodeRole::control);
  const auto client = TlsContext::pinned_client(ca.key_digest()).value();
  const auto refused = shake_hands(client, TlsContext::mutual_server(control).value());
  REQUIRE_FALSE(refused.server);
  CHECK(refused.server.error().code == ErrorCode::peer_untrusted);
  const auto open = shake_hands(client, TlsContext::open_server(control).value());
  REQUIRE(open.server);
  CHECK_FALSE((*open.server)->peer());
}

TEST_CASE_METHOD(MutualPair, "a pinned client trusts the CA with that key and no other", "[tls]") {
  const Authority foreign;
  const auto server = TlsContext::open_server(identity("control-1", NodeRole::control)).value();
  CHECK(shake_hands(TlsContext::pinned_client(ca.key_digest()).value(), server).client);
  const auto refused = shake_hands(TlsContext::pinned_client(foreign.ca.key_digest()).value(), server);
  REQUIRE_FALSE(refused.client);
  CHECK(refused.client.error().code == ErrorCode::peer_untrusted);
  CHECK(refused.client.error().reason.find("another cluster") != std::string::npos);
}

TEST_CASE_METHOD(MutualPair, "ends with no protocol in common part at the handshake", "[tls]") {
  const auto control = identity("control-1", NodeRole::control);
  const auto server = TlsContext::mutual_server(control, {"b"}).value();
  for (const char* offered : {"a", ""}) {
    const auto pair = shake_hands(TlsContext::mutual_client(identity("node-1"), offered).value(), server);
    REQUIRE_FALSE(pair.server);
    CHECK(pair.server.error().code == ErrorCode::version_incompatible);
  }
}

TEST_CASE_METHOD(MutualPair, "certificates of nodes whose clocks differ by ten minutes are good", "[tls]") {
  for (const auto skew : {-10min, -5min, 5min, 10min}) {
    const auto pair =
        shake_hands(TlsContext::mutual_client(identity("node-1", NodeRole::node, wall_now() + skew)).value(),
                    TlsContext::mutual_server(identity("control-1", NodeRole::control)).value());
    CHECK(pair.client);
    CHECK(pair.server);
  }
}

TEST_CASE_METHOD(MutualPair, "cut wakes who reads and who writes", "[tls]") {
  auto pair = open();
  auto& client = **pair.client;
  auto reader = std::async(std::launch::async, [&] { return read_error(client); });
  auto writer = std::async(std::launch::async, [&] {
    const std::vector<std::byte> much(std::size_t{64} << 20);
    return client.write(much);
  });
  CHECK(reader.wait_for(50ms) == std::future_status::timeout);
  CHECK(writer.wait_for(50ms) == std::future_status::timeout);
  client.cut();
  CHECK(reader.get().code == ErrorCode::connection_lost);
  const auto written = writer.get();
  REQUIRE_FALSE(written);
  CHECK(written.error().code == ErrorCode::connection_lost);
}

TEST_CASE_METHOD(MutualPair, "cut ends a handshake that goes nowhere", "[tls]") {
  auto listener = TcpListener::bind({"127.0.0.1", 0}).value();
  auto stream = TlsStream::over(tcp_connect(listener.address(), soon()).value(),
                                TlsContext::pinned_client(ca.key_digest()).value(), "x")
                    .value();
  auto shaken = std::async(std::launch::async, [&] { return stream->handshake(); });
  CHECK(shaken.wait_for(50ms) == std::future_status::timeout);
  stream->cut();
  CHECK(shaken.get().error().code == ErrorCode::connection_lost);
}

TEST_CASE_METHOD(MutualPair, "a read waits no longer than it may, and not past the stream's deadline", "[tls]") {
  auto pair = open();
  auto& client = **pair.client;
  client.set_idle(30ms);
  CHECK(read_error(client).code == ErrorCode::deadline_exceeded);
  client.set_idle(1h);
  client.set_deadline(soon(30ms));
  CHECK(read_error(client).code == ErrorCode::deadline_exceeded);
  client.set_deadline(std::nullopt);
  REQUIRE((*pair.server)->write(bytes_of("late")));
  CHECK(read_text(client) == "late");
}

TEST_CASE_METHOD(MutualPair, "an end in order reads as 0, a break does not", "[tls]") {
  auto pair = open();
  REQUIRE((*pair.client)->write(bytes_of("last")));
  REQUIRE((*pair.client)->end());
  CHECK(read_text(**pair.server) == "last");
  std::array<std::byte, 1> one{};
  CHECK((*pair.server)->read(one).value() == 0);
  REQUIRE((*pair.server)->write(bytes_of("still")));
  CHECK(read_text(**pair.client) == "still");

  auto broken = open();
  broken.client.value().reset();
  CHECK(read_error(**broken.server).code == ErrorCode::connection_lost);
  // Neither write raises SIGPIPE.
  const std::vector<std::byte> much(std::size_t{1} << 20);
  CHECK((*broken.server)->write(much).error().code == ErrorCode::connection_lost);
}

TEST_CASE_METHOD(MutualPair, "a peer that speaks no TLS is a lost connection", "[tls]") {
  auto listener = TcpListener::bind({"127.0.0.1", 0}).value();
  auto server = std::async(std::launch::async, [&] {
    return accept_tls(listener, TlsContext::mutual_server(identity("control-1", NodeRole::control)).value());
  });
  {
    const auto socket = tcp_connect(listener.address(), soon()).value();
    const std::string_view garbage = "GET / HTTP/1.1\r\n\r\n\xff\xfe\0\1";
    REQUIRE(::send(socket.get(), garbage.data(), garbage.size(), MSG_NOSIGNAL) > 0);
    ::shutdown(socket.get(), SHUT_WR);
  }
  CHECK(server.get().error().code == ErrorCode::connection_lost);
}

TEST_CASE_METHOD(MutualPair, "100 MB come back whole, one thread writing while another reads", "[tls]") {
  constexpr std::size_t total = 100'000'000;
  auto pair = open();
  std::jthread echoing([&] { echo(**pair.server); });
  const auto began = std::chrono::steady_clock::now();
  std::jthread writing([&] { send_pattern(**pair.client, total, 100'003); });
  CHECK(receive_pattern(**pair.client, total));
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
  std::cout << "echo of 100 MB: " << took.count() << " s\n";
  writing.join();
  (*pair.client)->cut();
}

TEST_CASE_METHOD(MutualPair, "keys change under way in both directions without a byte lost", "[tls]") {
  constexpr std::size_t total = 20'000'000;
  auto pair = open({.limits = {.idle = 10s, .records_per_key = 3}});
  std::jthread echoing([&] { echo(**pair.server); });
  std::jthread writing([&] { send_pattern(**pair.client, total, 100'003); });
  CHECK(receive_pattern(**pair.client, total));
  writing.join();
  (*pair.client)->cut();
}

TEST_CASE("nobody listening is connection_refused, and a woken listener accepts no more", "[tls]") {
  ListenAddress address;
  {
    auto listener = TcpListener::bind({"127.0.0.1", 0}).value();
    address = listener.address();
    CHECK(listener.accept(soon(20ms)).error().code == ErrorCode::deadline_exceeded);
    listener.wake();
    CHECK(listener.accept().error().code == ErrorCode::cancelled);
    CHECK(listener.accept().error().code == ErrorCode::cancelled);
  }
  const auto refused = tcp_connect(address, soon());
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == ErrorCode::connection_refused);
  CHECK(refused.error().transient);
}

TEST_CASE_METHOD(MutualPair, "one way throughput", "[.throughput]") {
  auto pair = open();
  constexpr std::size_t total = std::size_t{4} << 30;
  std::jthread writing([&] {
    const std::vector<std::byte> piece(std::size_t{1} << 20);
    for (std::size_t sent = 0; sent < total; sent += piece.size())
      if (!(*pair.client)->write(piece)) return;
  });
  std::vector<std::byte> buffer(std::size_t{128} << 10);
  const auto began = std::chrono::steady_clock::now();
  for (std::size_t had = 0; had < total;) had += (*pair.server)->read(buffer).value();
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
  std::cout << static_cast<double>(total) / took.count() / 1e9 << " GB/s\n";
}
