#include "http/websocket.hpp"

#include <optional>
#include <string>

#include "edge_fixture.hpp"
#include "http/auth.hpp"
#include "http/json/text.hpp"
#include "http/websocket/frames.hpp"

namespace nanobox::test {
namespace {

using http::CloseCode;
using http::MessageKind;
using http::Method;
using http::Request;
using http::Responder;
using http::WebSocket;
using http::websocket::Opcode;

struct FrameForm {
  bool fin = true;
  int rsv = 0;
  bool masked = true;
  int length_bytes = 0;  // 0: the shortest; else 2 or 8
};

// A client's frame with whatever form.
std::string frame(int opcode, std::string_view payload, FrameForm form = {}) {
  std::string out;
  out += static_cast<char>((form.fin ? 0x80 : 0) | form.rsv << 4 | opcode);
  const int mask_bit = form.masked ? 0x80 : 0;
  const int wide = form.length_bytes != 0   ? form.length_bytes
                   : payload.size() < 126   ? 0
                   : payload.size() < 65536 ? 2
                                            : 8;
  out += static_cast<char>(mask_bit | (wide == 0 ? static_cast<int>(payload.size()) : wide == 2 ? 126 : 127));
  for (int i = wide - 1; i >= 0; --i) out += static_cast<char>(payload.size() >> (8 * i));
  const std::string mask = "\x12\x34\x56\x78";
  if (form.masked) out += mask;
  for (std::size_t i = 0; i < payload.size(); ++i)
    out += static_cast<char>(form.masked ? payload[i] ^ mask[i % 4] : payload[i]);
  return out;
}

std::string close_payload(int code, std::string_view reason = {}) {
  return std::string{static_cast<char>(code >> 8), static_cast<char>(code & 0xff)} + std::string(reason);
}

struct ServerFrame {
  int opcode = 0;
  std::string payload;
  int close_code() const {
    return payload.size() < 2 ? 1005
                              : static_cast<unsigned char>(payload[0]) << 8 | static_cast<unsigned char>(payload[1]);
  }
};

// A WebSocket client that lets a test decide about each byte.
class Peer {
public:
  explicit Peer(std::uint16_t port, int receive_buffer = 0) : client_(port, receive_buffer) {}

  std::optional<Answer> shake(std::string_view more = {}, std::string_view path = "/ws") {
    client_.get(path,
                "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
                    std::string(more));
    return client_.read();
  }
  bool send(std::string_view bytes) { return client_.send(bytes); }
  std::optional<ServerFrame> read(std::chrono::milliseconds patience = 5s) {
    if (!fill(2, patience)) return std::nullopt;
    std::size_t size = static_cast<unsigned char>(bytes_[1]);
    CHECK(size < 128);  // never masked
    const std::size_t wide = size == 126 ? 2 : size == 127 ? 8 : 0;
    if (!fill(2 + wide, patience)) return std::nullopt;
    if (wide > 0) size = 0;
    for (std::size_t i = 0; i < wide; ++i) size = size << 8 | static_cast<unsigned char>(bytes_[2 + i]);
    if (!fill(2 + wide + size, patience)) return std::nullopt;
    ServerFrame frame{.opcode = bytes_[0] & 0x0f, .payload = bytes_.substr(2 + wide, size)};
    CHECK((bytes_[0] & 0xf0) == 0x80);
    bytes_.erase(0, 2 + wide + size);
    return frame;
  }
  Client& client() { return client_; }

private:
  bool fill(std::size_t size, std::chrono::milliseconds patience) {
    const auto deadline = std::chrono::steady_clock::now() + patience;
    while (bytes_.size() < size && std::chrono::steady_clock::now() < deadline) {
      const auto more = client_.read_bytes(
          1, std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now()));
      if (more.empty()) return false;
      bytes_ += more;
    }
    return bytes_.size() >= size;
  }
  Client client_;
  std::string bytes_;
};

// The server's side: echoes, and notes how it ends.
struct Echo {
  std::mutex mutex;
  std::optional<WebSocket> socket;
  http::WebSocketOptions options;
  bool hold = false;
  std::size_t received = 0;
  Signal opened;
  Signal closed;
  int code = 0;
  std::string reason;

  void open(const Request& request, Responder responder) {
    auto handshake = http::read_websocket_handshake(request, responder, options);
    if (!handshake) return;
    socket.emplace(WebSocket::accept(std::move(*handshake), std::move(responder)));
    socket->start({.on_message =
                       [this](MessageKind kind, std::string payload) {
                         {
                           const std::lock_guard lock(mutex);
                           received += payload.size();
                         }
                         if (hold) return;
                         socket->send(kind, payload);
                         socket->consumed(payload.size());
                       },
                   .on_close =
                       [this](std::uint16_t its_code, std::string its_reason) {
                         code = its_code;
                         reason = std::move(its_reason);
                         closed.set();
                       }});
    opened.set();
  }
};

http::Router echo_routes(Echo& echo) {
  http::Router router;
  router.add(Method::get, "/ws", [&echo](const Request& in, Responder out) { echo.open(in, std::move(out)); });
  return router;
}

constexpr int text = 1;
constexpr int binary = 2;
constexpr int close_op = 8;
constexpr int ping = 9;
constexpr int pong = 10;

}  // namespace

TEST_CASE("a handshake is answered as RFC 6455 says", "[http][websocket]") {
  Echo echo;
  echo.options.protocols = {"nanobox.v2", "nanobox.v1"};
  Edge edge(echo_routes(echo));
  Peer peer(edge.port());
  const auto answer = peer.shake("Sec-WebSocket-Protocol: other, nanobox.v1\r\nOrigin: http://localhost\r\n");
  REQUIRE(answer);
  CHECK(answer->status == 101);
  CHECK(answer->headers.at("sec-websocket-accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
  CHECK(answer->headers.at("sec-websocket-protocol") == "nanobox.v1");
  CHECK(answer->headers.at("upgrade") == "websocket");
}

TEST_CASE("handshakes that are none are refused", "[http][websocket]") {
  Echo echo;
  Edge edge(echo_routes(echo));
  const std::string upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
  const std::string version = "Sec-WebSocket-Version: 13\r\n";
  const std::string key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
  const std::pair<std::string, int> cases[] = {
      {"", 426},
      {version + key, 426},
      {upgrade + key, 426},
      {upgrade + "Sec-WebSocket-Version: 8\r\n" + key, 426},
      {upgrade + version, 400},
      {upgrade + version + "Sec-WebSocket-Key: c2hvcnQ=\r\n", 400},
      {upgrade + version + key + key, 400},
      {upgrade + version + "Sec-WebSocket-Key: not base64\r\n", 400},
      {upgrade + version + key + "Origin: http://evil.example\r\n", 403},
      {upgrade + version + key + "Origin: http://localhost:81\r\n", 403},
      {upgrade + version + key + "Origin: null\r\n", 403},
  };
  for (const auto& [headers, status] : cases) {
    INFO(headers);
    Client client(edge.port());
    client.get("/ws", headers);
    const auto answer = client.read();
    REQUIRE(answer);
    CHECK(answer->status == status);
    if (status == 426) CHECK(answer->headers.at("upgrade") == "websocket");
  }
  Client client(edge.port());
  client.get("/ws", upgrade + "Sec-WebSocket-Version: 8\r\n" + key);
  CHECK(client.read()->headers.at("sec-websocket-version") == "13");
}

TEST_CASE("a key may come as a protocol, is never sent back and goes no further", "[http][websocket]") {
  const std::string odd_key = "user:p@ss/word=";
  http::AuthRules rules;
  rules.keys = {{"one", "plain-key-0123456789"}, {"two", odd_key}};
  std::string seen = "untouched";
  std::string owner;
  http::Router router;
  router.add(Method::get, "/ws", [&](const Request& in, Responder out) {
    seen = in.header("sec-websocket-protocol").value_or("none");
    owner = in.owner;
    http::read_websocket_handshake(in, out, {.protocols = {"nanobox"}});
    if (!out.answered()) out.send(204);
  });
  Edge edge(std::move(router), {.auth = std::make_shared<http::Authenticator>(rules)});
  auto encoded = http::json::to_base64(odd_key);
  for (char& c : encoded) c = c == '+' ? '-' : c == '/' ? '_' : c;
  encoded.erase(encoded.find_last_not_of('=') + 1);
  const auto status_of = [&](const std::string& protocols) {
    Peer peer(edge.port());
    const auto answer = peer.shake("Sec-WebSocket-Protocol: " + protocols + "\r\n");
    return answer ? answer->status : 0;
  };
  CHECK(status_of("nanobox, nanobox.key.plain-key-0123456789") == 204);
  CHECK(seen == "nanobox");
  CHECK(owner == "one");
  CHECK(status_of("nanobox.key64." + encoded + ", nanobox") == 204);
  CHECK(owner == "two");
  CHECK(status_of("nanobox.key.plain-key-0123456789") == 204);
  CHECK(seen == "none");
  CHECK(status_of("nanobox.key.wrong, nanobox") == 401);
  CHECK(status_of("nanobox.key64.!!, nanobox") == 401);
  CHECK(status_of("nanobox") == 401);
}

TEST_CASE("messages of every length form come back as they went", "[http][websocket]") {
  Echo echo;
  Edge edge(echo_routes(echo));
  Peer peer(edge.port());
  REQUIRE(peer.shake());
  for (const std::size_t size : {0U, 1U, 125U, 126U, 127U, 65535U, 65536U, 1U << 20}) {
    const std::string payload(size, 'x');
    for (const int kind : {text, binary}) {
      peer.send(frame(kind, payload));
      const auto answer = peer.read();
      REQUIRE(answer);
      CHECK(answer->opcode == kind);
      CHECK((answer->payload == payload));
    }
  }
}

TEST_CASE("frames may be cut anywhere", "[http][websocket]") {
  Echo echo;
  Edge edge(echo_routes(echo));
  Peer peer(edge.port());
  REQUIRE(peer.shake());
  const auto bytes = frame(text, "h\xc3\xa4llo") + frame(ping, "p") + frame(binary, std::string("\0\xff", 2));
  for (const char& c : bytes) peer.send({&c, 1});
  CHECK(peer.read()->payload == "h\xc3\xa4llo");
  CHECK(peer.read()->opcode == pong);
  CHECK(peer.read()->payload == std::string("\0\xff", 2));
}

TEST_CASE("fragments are joined, with control frames between them", "[http][websocket]") {
  Echo echo;
  Edge edge(echo_routes(echo));
  Peer peer(edge.port());
  REQUIRE(peer.shake());
  // A character may be cut by a fragment's border.
  peer.send(frame(text, "a\xe2", {.fin = false}) + frame(ping, "between") + frame(0, "\x82", {.fin = false}) +
            frame(pong, "unasked") + frame(0, "", {.fin = false}) + frame(0, "\xac!"));
  auto answer = peer.read();
  REQUIRE(answer);
  CHECK(answer->opcode == pong);
  CHECK(answer->payload == "between");
  answer = peer.read();
  REQUIRE(answer);
  CHECK(answer->opcode == text);
  CHECK(answer->payload == "a\xe2\x82\xac!");
}

TEST_CASE("what breaks the protocol closes with its code", "[http][websocket]") {
  struct Case {
    const char* what;
    std::string bytes;
    int code;
  };
  const std::string too_long(126, 'x');
  const Case cases[] = {
      {"unmasked", frame(text, "a", {.masked = false}), 1002},
      {"unmasked and empty", frame(text, "", {.masked = false}), 1002},
      {"reserved bit 1", frame(text, "a", {.rsv = 4}), 1002},
      {"reserved bit 3 of a ping", frame(ping, "a", {.rsv = 1}), 1002},
      {"reserved opcode 3", frame(3, "a"), 1002},
      {"reserved opcode 7 without payload", frame(7, ""), 1002},
      {"reserved control opcode 11", frame(11, ""), 1002},
      {"reserved control opcode 15", frame(15, "a"), 1002},
      {"fragmented ping", frame(ping, "a", {.fin = false}), 1002},
      {"fragmented close", frame(close_op, close_payload(1000), {.fin = false}), 1002},
      {"ping of 126 bytes", frame(ping, too_long), 1002},
      {"continuation of nothing", frame(0, "a"), 1002},
      {"continuation of a whole message", frame(text, "a") + frame(0, "b"), 1002},
      {"message within a message", frame(text, "a", {.fin = false}) + frame(text, "b"), 1002},
      {"length not in its shortest form, 16 bits", frame(text, "a", {.length_bytes = 2}), 1002},
      {"length not in its shortest form, 64 bits", frame(text, "a", {.length_bytes = 8}), 1002},
      {"length beyond 63 bits", std::string("\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0", 14), 1002},
      {"text that is no UTF-8", frame(text, "a\xff"), 1007},
      {"text with a surrogate", frame(text, "\xed\xa0\x80"), 1007},
      {"text with an overlong form", frame(text, "\xc0\xaf"), 1007},
      {"text beyond U+10FFFF", frame(text, "\xf4\x90\x80\x80"), 1007},
      {"text that ends within a character", frame(text, "\xe2\x82"), 1007},
      {"fragments that are no UTF-8 together", frame(text, "\xe2", {.fin = false}) + frame(0, "x"), 1007},
      {"message above the limit", frame(binary, std::string((1 << 20) + 1, 'x')), 1009},
      {"fragments above the limit", frame(binary, std::string(1 << 20, 'x'), {.fin = false}) + frame(0, "x"), 1009},
      {"huge length", std::string("\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0x", 15), 1009},
      {"close with one byte", frame(close_op, "\x03"), 1002},
      {"close with a bad reason", frame(close_op, close_payload(1000, "\xff")), 1007},
      {"close above 125 bytes", frame(close_op, close_payload(1000, std::string(124, 'x'))), 1002},
      {"close 0", frame(close_op, close_payload(0)), 1002},
      {"close 999", frame(close_op, close_payload(999)), 1002},
      {"close 1004", frame(close_op, close_payload(1004)), 1002},
      {"close 1005", frame(close_op, close_payload(1005)), 1002},
      {"close 1006", frame(close_op, close_payload(1006)), 1002},
      {"close 1015", frame(close_op, close_payload(1015)), 1002},
      {"close 1016", frame(close_op, close_payload(1016)), 1002},
      {"close 2999", frame(close_op, close_payload(2999)), 1002},
      {"close 5000", frame(close_op, close_payload(5000)), 1002},
      {"close 65535", frame(close_op, close_payload(65535)), 1002},
  };
  for (const auto& [what, bytes, code] : cases) {
    INFO(what);
    Echo echo;
    Edge edge(echo_routes(echo));
    Peer peer(edge.port());
    REQUIRE(peer.shake());
    peer.send(bytes + frame(ping, "behind"));
    auto answer = peer.read();
    while (answer && answer->opcode != close_op) answer = peer.read();
    REQUIRE(answer);
    CHECK(answer->close_code() == code);
    CHECK(answer->payload.size() > 2);
    CHECK(peer.client().closes());
    REQUIRE(echo.closed.wait());
    CHECK(echo.code == code);
  }
}

TEST_CASE("a client's close is answered with its code and ends the connection", "[http][websocket]") {
  for (const int code : {1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1014, 3000, 3999, 4000, 4999, 1005}) {
    Echo echo;
    Edge edge(echo_routes(echo));
    Peer peer(edge.port());
    REQUIRE(peer.shake());
    peer.send(frame(text, "last") +
              frame(close_op, code == 1005 ? "" : close_payload(code, code == 1000 ? "b\xc3\xbf" : "")) +
              frame(ping, "behind"));
    CHECK(peer.read()->payload == "last");
    const auto answer = peer.read();
    REQUIRE(answer);
    CHECK(answer->opcode == close_op);
    CHECK(answer->close_code() == code);
    CHECK(peer.client().closes());
    REQUIRE(echo.closed.wait());
    CHECK(echo.code == code);
    CHECK(echo.reason == (code == 1000 ? "b\xc3\xbf" : ""));
    CHECK_FALSE(echo.socket->is_open());
  }
}

TEST_CASE("a server's close carries its reason, cut between characters, and waits for the answer",
          "[http][websocket]") {
  Echo echo;
  Edge edge(echo_routes(echo));
  Peer peer(edge.port());
  REQUIRE(peer.shake());
  REQUIRE(echo.opened.wait());
  std::string reason(122, 'x');
  reason += "\xc3\xa4";
  echo.socket->send(MessageKind::text, "before");
  echo.socket->close(CloseCode::going_away, reason);
  echo.socket->close(CloseCode::normal, "second");
  echo.socket->send(MessageKind::text, "after");
  CHECK(peer.read()->payload == "before");
  const auto answer = peer.read();
  REQUIRE(answer);
  CHECK(answer->opcode == close_op);
  CHECK(answer->payload == close_payload(1001, std::string(122, 'x')));
  CHECK_FALSE(peer.read(100ms));
  CHECK_FALSE(echo.closed.wait(1ms));
  peer.send(frame(text, "crossed") + frame(close_op, close_payload(1001)));
  CHECK(peer.client().closes());
  REQUIRE(echo.closed.wait());
  CHECK(echo.code == 1001);
  CHECK(echo.received == 0);
}

TEST_CASE("a client that does not answer a close is cut after a while", "[http][websocket]") {
  Echo echo;
  echo.options.close_limit = 200ms;
  Edge edge(echo_routes(echo), {.timeouts = {.probe = 100ms}});
  Peer peer(edge.port());
  REQUIRE(peer.shake());
  REQUIRE(echo.opened.wait());
  echo.socket->close(4001, "bye");
  CHECK(peer.read()->close_code() == 4001);
  CHECK(peer.client().closes());
  REQUIRE(echo.closed.wait());
  CHECK(echo.code == 4001);
  CHECK(echo.reason == "bye");
}

TEST_CASE("a client that vanishes closes abnormally", "[http][websocket]") {
  Echo echo;
  Edge edge(echo_routes(echo));
  {
    Peer peer(edge.port());
    REQUIRE(peer.shake());
    peer.send(frame(text, "half", {.fin = false}));
  }
  REQUIRE(echo.closed.wait());
  CHECK(echo.code == 1006);
}

TEST_CASE("a quiet client is pinged, and cut off where it does not answer", "[http][websocket]") {
  Echo echo;
  echo.options.ping_interval = 200ms;
  echo.options.silence_limit = 600ms;
  Edge edge(echo_routes(echo), {.timeouts = {.probe = 100ms}});
  Peer peer(edge.port());
  REQUIRE(peer.shake());
  for (int i = 0; i < 6; ++i) {
    const auto asked = peer.read();
    REQUIRE(asked);
    CHECK(asked->opcode == ping);
    peer.send(frame(pong, asked->payload));
  }
  CHECK(peer.client().closes());
  REQUIRE(echo.closed.wait());
  CHECK(echo.code == 1006);
}

TEST_CASE("a reader of messages without credit holds its client back and does not cut it off", "[http][websocket]") {
  Echo echo;
  echo.hold = true;
  echo.options.ping_interval = 100ms;
  echo.options.silence_limit = 300ms;
  Edge edge(echo_routes(echo), {.timeouts = {.probe = 100ms}});
  Peer peer(edge.port());
  REQUIRE(peer.shake());
  constexpr int count = 512;
  std::thread sender([&] {
    for (int i = 0; i < count; ++i) peer.send(frame(binary, std::string(64 << 10, 'x')));
    peer.send(frame(close_op, close_payload(1000)));
  });
  CHECK_FALSE(echo.closed.wait(1s));
  {
    const std::lock_guard lock(echo.mutex);
    CHECK(echo.received >= (256 << 10));
    CHECK(echo.received <= (256 << 10) + (512 << 10));
  }
  // From here on everything is digested at once.
  std::size_t digested = 0;
  while (!echo.closed.wait(10ms)) {
    std::size_t received = 0;
    {
      const std::lock_guard lock(echo.mutex);
      received = echo.received;
    }
    echo.socket->consumed(received - digested);
    digested = received;
  }
  sender.join();
  CHECK(echo.code == 1000);
  CHECK(echo.received == static_cast<std::size_t>(count) * (64 << 10));
}

TEST_CASE("a WebSocket that is dropped closes with 1011", "[http][websocket]") {
  http::Router router;
  router.add(Method::get, "/ws", [](const Request& in, Responder out) {
    auto handshake = http::read_websocket_handshake(in, out);
    WebSocket::accept(std::move(*handshake), std::move(out));
  });
  Edge edge(std::move(router));
  Peer peer(edge.port());
  REQUIRE(peer.shake());
  CHECK(peer.read()->close_code() == 1011);
  peer.send(frame(close_op, close_payload(1011)));
  CHECK(peer.client().closes());
}

TEST_CASE("a client that floods pings and reads nothing costs bounded memory", "[http][websocket]") {
  Echo echo;
  Edge edge(echo_routes(echo));
  Peer peer(edge.port(), 4096);
  REQUIRE(peer.shake());
  std::string pings;
  for (int i = 0; i < 1000; ++i) pings += frame(ping, std::string(125, 'p'));
  bool sent = true;
  for (int i = 0; i < 200 && sent; ++i) sent = peer.send(pings);
  CHECK_FALSE(sent);
  REQUIRE(echo.closed.wait());
  CHECK(echo.code == 1006);
}

TEST_CASE("a stop tells WebSockets, which may close in time", "[http][websocket]") {
  Echo echo;
  Edge edge(echo_routes(echo));
  Peer peer(edge.port());
  REQUIRE(peer.shake());
  REQUIRE(echo.opened.wait());
  echo.socket->on_drain([&] { echo.socket->close(CloseCode::going_away, "the server stops"); });
  bool finished = false;
  std::thread stopping([&] { finished = edge.server().stop(10s); });
  CHECK(peer.read()->payload == close_payload(1001, "the server stops"));
  peer.send(frame(close_op, close_payload(1001)));
  stopping.join();
  CHECK(finished);
}

}  // namespace nanobox::test
