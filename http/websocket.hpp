#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "http/request.hpp"
#include "http/responder.hpp"

namespace nanobox::http {

struct WebSocketOptions {
  std::vector<std::string> protocols = {};          ///< spoken here, best first; none: whatever, unnamed
  std::size_t max_message_bytes = 1 << 20;          ///< 1009 above
  std::chrono::milliseconds ping_interval{30'000};  ///< how often a quiet client is asked whether it is there
  std::chrono::milliseconds silence_limit{60'000};  ///< a client from which nothing comes for so long is cut off
  std::chrono::milliseconds close_limit{5'000};     ///< how long a close waits for the client's answer
};

/// A handshake that was found right and not yet answered (RFC 6455, section 4.2).
struct WebSocketHandshake {
  std::string accept;    ///< Sec-WebSocket-Accept
  std::string protocol;  ///< the first of ours that the client offered; empty: none
  WebSocketOptions options;
};

/// Reads a handshake. Where it is wrong it is answered (426 no WebSocket or another version, 400 malformed, 403 an
/// Origin that is not the Host's own) and nothing is returned. Browsers send the key as a protocol, "nanobox.key.KEY"
/// or, where KEY has characters other than letters, digits and !#$%&'*+-.^_`|~, "nanobox.key64." and its base64url;
/// they must offer one of `options.protocols` beside it. The edge has checked and removed it by then.
std::optional<WebSocketHandshake> read_websocket_handshake(const Request& request, Responder& responder,
                                                           WebSocketOptions options = {});

enum class MessageKind : std::uint8_t { text, binary };

/// RFC 6455, section 7.4.1.
enum class CloseCode : std::uint16_t {
  normal = 1000,
  going_away = 1001,
  protocol_error = 1002,
  unsupported_data = 1003,
  no_status = 1005,  ///< a close without a code; never sent
  abnormal = 1006,   ///< no close at all: client gone or cut; never sent
  invalid_payload = 1007,
  policy_violation = 1008,
  message_too_big = 1009,
  internal_error = 1011,
  try_again_later = 1013,
};

/// A WebSocket's server side. Movable and thread-safe. Pings are answered, fragments joined, the rules of the protocol
/// enforced: what breaks them closes with 1002, text that is no UTF-8 with 1007. Dropped without `close` it closes with
/// 1011.
class WebSocket {
public:
  /// Sends the 101. A client that is gone by now shows as a close with 1006.
  static WebSocket accept(WebSocketHandshake handshake, Responder responder);
  WebSocket(WebSocket&&) noexcept = default;
  WebSocket& operator=(WebSocket&& other) noexcept;
  ~WebSocket();

  struct Handlers {
    /// A whole message, in order, never two at a time. On a worker thread: must not block. `consumed` gives credit.
    std::function<void(MessageKind, std::string)> on_message;
    /// Once and last: the client's code and reason, or ours where we closed and the client did not answer in time, or
    /// broke the rules. The handlers are freed afterwards.
    std::function<void(std::uint16_t code, std::string reason)> on_close;
  };
  /// Begins to read. Once only.
  void start(Handlers handlers);
  /// `bytes` of messages' payload are digested. While 256 KiB are not, nothing more is read.
  void consumed(std::size_t bytes);

  /// Sends one message; never blocks. Text must be UTF-8. @returns whether there is credit for more, as Stream::write.
  /// After a close from either side it does nothing.
  bool send(MessageKind kind, std::string_view payload);
  std::size_t outstanding() const;
  /// As Stream::on_writable.
  void on_writable(std::function<void()> callback);
  /// Called once, when the server begins to stop: a good moment to close with `going_away`.
  void on_drain(std::function<void()> callback);

  /// Sends a close and drops what still comes until the client's answer. `reason` is UTF-8; beyond 123 bytes it is cut
  /// between characters. Only the first close counts.
  void close(CloseCode code, std::string_view reason = {});
  void close(std::uint16_t code, std::string_view reason = {});
  bool is_open() const;

private:
  struct Session;
  explicit WebSocket(std::shared_ptr<Session> session);
  std::shared_ptr<Session> session_;
};

}  // namespace nanobox::http
