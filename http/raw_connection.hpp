#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string_view>

#include "http/body_reader.hpp"

namespace nanobox::http {

/// A connection taken over from HTTP (Responder::upgrade): bytes both ways, each with credit. Movable and thread-safe.
/// It counts as a request in flight until it is over; at the end of a server's drain it is cut. Dropping it cuts the
/// connection, or, after `end`, closes it once everything written has left; no callback is called after that.
class RawConnection {
public:
  RawConnection(std::shared_ptr<transport::Exchange> exchange, std::shared_ptr<transport::InputPipe> pipe);
  RawConnection(RawConnection&&) noexcept = default;
  RawConnection& operator=(RawConnection&& other) noexcept;
  ~RawConnection();

  /// Begins to read: first what the client had sent behind its request. Once only. `on_end` with a value is the
  /// client's half-close, after which it still reads; with an error (`cancelled`) the connection is over.
  void start(OnData on_data, OnEnd on_end);
  /// `bytes` of what was handed over are digested. While BodyReader::credit are not, the socket is not read.
  void consumed(std::size_t bytes);

  /// As Stream::write: hands over bytes, never blocks. @returns whether there is credit for more (256 KiB)
  bool write(std::string_view bytes);
  /// Bytes that have not yet left.
  std::size_t outstanding() const;
  /// As Stream::on_writable.
  void on_writable(std::function<void()> callback);

  /// Nothing more is written: a half-close, once everything has left. Reading goes on.
  void end();
  /// Cuts the connection.
  void abort();
  bool connected() const;

  /// Called once, when the connection is over in whatever way (both ends half-closed, cut, client gone or stalled
  /// too long); at once if that has happened already. A worker thread calls it: it must not block.
  void on_disconnect(std::function<void()> callback);
  /// Called once, when the server begins to stop, on the thread that stops it; at once if that has happened already.
  void on_drain(std::function<void()> callback);
  /// Called a few times a second while the connection lives, for deadlines of a protocol spoken over it. A thread of
  /// the server's calls it: it must not block.
  void on_tick(std::function<void(std::chrono::steady_clock::time_point now)> callback);

private:
  std::shared_ptr<transport::Exchange> exchange_;
  std::shared_ptr<transport::InputPipe> pipe_;
};

}  // namespace nanobox::http
