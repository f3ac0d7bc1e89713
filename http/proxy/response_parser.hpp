#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "config/error.hpp"
#include "http/responder.hpp"

namespace nanobox::http::proxy {

/// What stands before a service's answer.
struct ServiceAnswer {
  int status = 0;
  Headers headers;  ///< end-to-end ones, as sent; without Content-Length, Date and X-Request-Id, which the edge writes
  std::optional<std::uint64_t> content_length;  ///< nothing: chunked, until the end, or no body
  std::string upgrade;                          ///< of a 101: the protocol
};

/// The head with which the edge gives that answer to its own client.
StreamHead stream_head_of(const ServiceAnswer& answer);

/// Cuts a service's bytes into an answer (RFC 9112, sections 6 and 7), strictly: what two readers might cut differently
/// is refused. The service is an enemy: header block at most 64 KiB, interim answers (dropped) at most 16. Knows no
/// sockets. `append` bytes, ask `next` until it needs more.
class ResponseParser {
public:
  /// `to_head`: the request was a HEAD, its answer has no body. `may_upgrade`: it asked for an upgrade; else a 101 is
  /// refused.
  explicit ResponseParser(bool to_head = false, bool may_upgrade = false, std::size_t header_limit = 64 << 10);
  ~ResponseParser();
  ResponseParser(ResponseParser&&) noexcept;
  ResponseParser& operator=(ResponseParser&&) noexcept;

  enum class Event : std::uint8_t {
    need_more,
    head,      ///< see `answer`
    body,      ///< see `take_body`, which is not empty
    complete,  ///< the answer is whole; what follows is ignored
    upgraded,  ///< instead of head: see `answer`, then `take_rest`; no HTTP any more
    refused,   ///< see `error`: malformed, or cut off; of no more use
  };
  void append(std::string_view bytes);
  /// The service sends no more.
  void end_of_input();
  Event next();

  const ServiceAnswer& answer() const { return answer_; }
  std::string take_body();
  /// Bytes behind a 101.
  std::string take_rest();
  /// @errors guest_protocol (502): the answer is malformed · guest_gone (502): it was cut off
  const Error& error() const { return error_; }

private:
  struct Parser;
  enum class Place : std::uint8_t { head, body, done, upgraded, refused };
  Event refuse(ErrorCode code, std::string reason);
  Event read_head();
  Event check_head();
  Event read_body();
  void consume(std::size_t count);

  bool to_head_;
  bool may_upgrade_;
  std::size_t header_limit_;
  std::string buffer_;
  std::size_t used_ = 0;
  bool ended_ = false;
  int interims_ = 0;
  Place place_ = Place::head;
  std::unique_ptr<Parser> parser_;
  ServiceAnswer answer_;
  Error error_;
};

}  // namespace nanobox::http::proxy
