#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "http/request.hpp"

namespace nanobox::http::proxy {

/// How a request reaches the service behind a forwarded port.
struct Forwarding {
  std::string prefix;                        ///< the path below which the service is seen, ".../ports/8080"
  std::string target;                        ///< path and query at the service, as `forwarded_target`
  std::optional<std::uint64_t> body_length;  ///< BodyReader::length: 0 no body, nothing: chunked
};

/// The target at the service: "/", the value of the route's `{rest...}` parameter, and the query.
std::string forwarded_target(const Request& request, std::string_view rest);

/// The head of an HTTP/1.1 request to the service, with its empty line. One request per connection: it says
/// `Connection: close`, or `Connection: Upgrade` where the client asks for an upgrade.
/// - Host stays as the client sent it, so that the service's checks of Origin against Host hold and the links it makes
///   lead back here (as nginx's `proxy_set_header Host $host`).
/// - Headers for one hop are left out (RFC 9110, section 7.6.1), also those that Connection names, and Expect, which
///   the edge has answered. Our own keys never get here (Request::has_key).
/// - X-Forwarded-For gets the client's address appended; -Host and -Proto are kept where a proxy before us has set
/// them,
///   else Host and "http"; -Prefix gets `prefix` appended.
std::string write_forwarded_head(const Request& request, const Forwarding& forwarding);

/// A piece of a body as it goes to the service; `chunked` where Forwarding::body_length is nothing.
std::string write_forwarded_body(std::string_view bytes, bool chunked);
/// What ends that body.
std::string_view forwarded_body_end(bool chunked);

}  // namespace nanobox::http::proxy
