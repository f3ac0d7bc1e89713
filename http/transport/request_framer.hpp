#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/error.hpp"

namespace nanobox::http::transport {

/// What stands before a body.
struct RequestHead {
  std::string method;
  std::string path;                                          ///< of the target, still encoded
  std::string query;                                         ///< of the target, without '?'
  std::vector<std::pair<std::string, std::string>> headers;  ///< names in lower case; hop-by-hop ones are left out
  std::vector<std::string> connection_options;               ///< what Connection names, in lower case
  std::string upgrade;                                       ///< in lower case, where Connection names it; or empty
  bool http_1_0 = false;
  bool keep_alive = true;
  bool expects_continue = false;
  bool has_body = false;
  std::optional<std::uint64_t> content_length;  ///< nothing: chunked, or no body
};

/// Mend 2: cuts a connection's bytes into requests, strictly: what two readers might cut differently is refused. Knows
/// no sockets. One request at a time: `append` bytes, ask `next` until it needs more.
class RequestFramer {
public:
  explicit RequestFramer(std::size_t header_limit);
  ~RequestFramer();
  RequestFramer(const RequestFramer&) = delete;
  RequestFramer& operator=(const RequestFramer&) = delete;

  enum class Event : std::uint8_t {
    need_more,
    head,      ///< see `head`; call `accept_body` before the next `next`
    complete,  ///< see `take_body`; then `restart`
    refused,   ///< see `error`; the connection is of no more use
  };
  enum class Place : std::uint8_t { between, header, body, done };

  void append(std::string_view bytes);
  Event next();
  Place place() const { return place_; }

  const RequestHead& head() const { return head_; }
  /// How large the body may become. A body that is not `whole` is taken piece by piece, after each `next`.
  void accept_body(std::uint64_t limit, bool whole = true);
  /// So much of it has come, whether taken or not.
  std::uint64_t body_bytes() const;
  std::string take_body();
  /// Bytes behind this request, which are no request: the connection speaks something else from here on.
  std::string take_rest();
  /// Ready for the next request, with the bytes that came behind this one.
  void restart();

  const Error& error() const { return error_; }
  /// Bytes that are not yet part of a request.
  std::size_t buffered() const { return buffer_.size() - used_; }

private:
  struct Parser;
  Event refuse(ErrorCode code, std::string reason, std::string mend = {});
  Event read_head();
  Event check_head();
  Event read_body();
  void consume(std::size_t count);

  std::size_t header_limit_;
  std::string buffer_;
  std::size_t used_ = 0;
  Place place_ = Place::between;
  std::unique_ptr<Parser> parser_;
  RequestHead head_;
  std::uint64_t body_limit_ = 0;
  std::uint64_t body_taken_ = 0;
  Error error_;
};

}  // namespace nanobox::http::transport
