#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <variant>

#include "config/error.hpp"
#include "tools/nanobox/event_loop.hpp"
#include "tools/nanobox/transfer.hpp"

namespace nanobox::cli {

/// A message, or the next piece of one.
struct SocketMessage {
  bool text = false;
  std::string bytes;
};

/// The end of a connection (RFC 6455, 7.1.5).
struct SocketClose {
  static constexpr std::uint16_t kNormal = 1000;
  static constexpr std::uint16_t kLost = 1006;  ///< without a closing handshake
  std::uint16_t code = kLost;
  std::string reason;
};

/// One WebSocket connection to the server, over TCP or TLS. Calls back on its loop's thread, never from within a call.
/// Bounded: nothing is received but what is asked for.
class WebSocket : public std::enable_shared_from_this<WebSocket> {
public:
  using Received = std::variant<SocketMessage, SocketClose>;

  /// @param path  with its query @param protocol  the subprotocol to offer; empty: none
  static std::shared_ptr<WebSocket> make(EventLoop& loop, const ServerAddress& server, std::string path,
                                         std::string protocol = "");
  virtual ~WebSocket() = default;

  /// Connects, and is let in. @errors the problem the server answered with · io_failed
  virtual void open(std::function<void(Result<void>)> opened) = 0;
  /// The next message or piece of one, of at most 64 KiB; one call at a time, none after a `SocketClose`.
  virtual void read(std::function<void(Received)> received) = 0;
  /// Sends one message; after those given before. @param sent  once it is on its way; not called where the connection
  /// ends before
  virtual void send(SocketMessage message, std::function<void()> sent) = 0;
  /// Says goodbye; `read` gets the other side's.
  virtual void close() = 0;
  /// Ends the connection without a word.
  virtual void drop() = 0;
};

}  // namespace nanobox::cli
