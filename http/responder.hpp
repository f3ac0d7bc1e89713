#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/error.hpp"
#include "http/raw_connection.hpp"

namespace nanobox::http {

namespace transport {
class Exchange;
}

using Headers = std::vector<std::pair<std::string, std::string>>;

/// The head of a streamed answer.
struct StreamHead {
  int status = 200;
  std::string content_type = "application/octet-stream";  ///< empty: none
  Headers headers = {};
  /// How many bytes will be written: the client is told and nothing is chunked. Writing more, or ending with less, cuts
  /// the connection. Nothing: chunked (to HTTP/1.0: until the end of the connection).
  std::optional<std::uint64_t> content_length = {};
};

/// An answer whose bytes go out piece by piece. Movable and thread-safe; dropping it cuts the connection, so that the
/// client sees that the answer is not whole. To HEAD, and with 204 and 304, nothing but the head is sent: what is
/// written is dropped.
class Stream {
public:
  explicit Stream(std::shared_ptr<transport::Exchange> exchange);
  Stream(Stream&&) noexcept = default;
  Stream& operator=(Stream&& other) noexcept;
  ~Stream();

  /// Hands over bytes; never blocks. @returns whether there is credit for more (less than 256 KiB outstanding). What is
  /// written without credit is still sent, up to 1 MiB above it; then the connection is cut.
  bool write(std::string_view bytes);
  /// As Responder::note.
  void note(std::string key, std::string value);
  /// Bytes that have not yet left.
  std::size_t outstanding() const;
  bool connected() const;
  /// Called, once for each time `write` answered false, when there is credit again. On a worker thread: must not block.
  void on_writable(std::function<void()> callback);
  /// Called at most once, when the client is gone or stalled too long; at once if that has happened already.
  void on_disconnect(std::function<void()> callback);
  /// The answer is whole. Later calls do nothing.
  void end();

private:
  std::shared_ptr<transport::Exchange> exchange_;
};

/// The one answer to one request. Movable and thread-safe: an actor may keep it and answer from its own thread. Each
/// answer carries X-Request-Id. Dropped without an answer it sends 500 `internal`.
class Responder {
public:
  explicit Responder(std::shared_ptr<transport::Exchange> exchange);
  Responder(Responder&&) noexcept = default;
  Responder& operator=(Responder&& other) noexcept;
  ~Responder();

  /// A JSON answer, or one without a body (204, or `json` empty). The first answer wins; later ones do nothing.
  void send(int status, std::string json = {}, Headers headers = {});
  /// Any other content, e.g. text/plain for /metrics.
  void send_bytes(int status, std::string_view content_type, std::string body, Headers headers = {});
  /// application/problem+json, as problem.hpp says.
  void send_problem(const Error& error, Headers headers = {});
  /// The same with a status that the error's code does not have, as 426.
  void send_problem(int status, const Error& error, Headers headers = {});
  /// Answers 200 and goes on piece by piece. The Responder is used up.
  Stream begin_stream(std::string_view content_type, Headers headers = {});
  Stream begin_stream(StreamHead head);
  /// Answers 101 with `Connection: Upgrade` and `Upgrade: PROTOCOL` and takes the connection over: no HTTP is spoken on
  /// it from now on. Only where the client asked for it (Request::upgrade). A request whose body has not been read to
  /// its end is answered with 400 instead. The Responder is used up; where nothing can be taken over any more (client
  /// gone, answered before), what is returned is not `connected`.
  RawConnection upgrade(std::string_view protocol, Headers headers = {});

  /// Called at most once, when the client is gone before its answer; at once if that has happened already. A worker
  /// thread calls it: it must not block.
  void on_disconnect(std::function<void()> callback);
  bool connected() const;
  bool answered() const;

  /// Adds to what is known of the request when it is over (served_request.hpp).
  void note(std::string key, std::string value);

  const std::string& request_id() const;
  /// The request's path, for problems made elsewhere.
  const std::string& instance() const;

  /// Sees the answer just before it goes out (not streams). For idempotency keys; at most one.
  using Observer =
      std::function<void(int status, std::string_view content_type, std::string_view body, bool connected)>;
  void observe(Observer observer);

private:
  std::shared_ptr<transport::Exchange> exchange_;
};

}  // namespace nanobox::http
