#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "config/error.hpp"

namespace nanobox::http {

namespace transport {
class Exchange;
class InputPipe;
}  // namespace transport

/// Given a client's bytes piece by piece, in order, never two calls at a time, never an empty piece. A worker thread
/// calls it: it must not block.
using OnData = std::function<void(std::string)>;

/// Called once, behind the last piece: a value where the bytes are whole, else why there are no more:
/// `cancelled` the client is gone or ended in the middle, the request was answered before, or the server stops ·
/// `request_timeout` it paused too long · `body_too_large` · `malformed_request` its framing is wrong.
using OnEnd = std::function<void(Result<void>)>;

/// A request's body that is read while it arrives (Router::add_streaming). Movable and thread-safe. Flow is by credit:
/// while 256 KiB are handed over and not yet `consumed`, the socket is not read, so that the client's writes wait.
/// Dropping it leaves the rest unread. An answer given before the end drops what is left of the body where that is
/// little, and closes the connection after the answer where it is much; to keep the connection, answer in or after
/// `OnEnd`.
class BodyReader {
public:
  /// Undigested bytes at which reading pauses.
  static constexpr std::size_t credit = 256 << 10;

  BodyReader(std::shared_ptr<transport::Exchange> exchange, std::shared_ptr<transport::InputPipe> pipe,
             std::optional<std::uint64_t> length);
  BodyReader(BodyReader&&) noexcept = default;
  BodyReader& operator=(BodyReader&& other) noexcept;
  ~BodyReader();

  /// The body's size in bytes where the client said it; 0 where there is no body. Nothing: chunked.
  std::optional<std::uint64_t> length() const { return length_; }

  /// Begins to read; sends "100 Continue" to a client that waits for it. Once only. The callbacks are freed after
  /// `on_end`. Where the client is gone already, `on_end` is called at once, by the calling thread.
  void start(OnData on_data, OnEnd on_end);
  /// `bytes` of what was handed over are digested: so many more may be read.
  void consumed(std::size_t bytes);

private:
  std::shared_ptr<transport::Exchange> exchange_;
  std::shared_ptr<transport::InputPipe> pipe_;
  std::optional<std::uint64_t> length_;
};

}  // namespace nanobox::http
