#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "http/responder.hpp"

namespace nanobox::http::transport {

struct ResponseHead {
  int status = 200;
  std::string_view content_type = {};  ///< empty: none
  std::string_view request_id = {};
  std::optional<std::uint64_t> content_length = {};
  bool chunked = false;
  bool close = false;
  bool says_keep_alive = false;  ///< HTTP/1.0 clients must be told
};

/// Status line, headers and the empty line. Line breaks in names and values are dropped: nobody can smuggle a header.
std::string write_head(const ResponseHead& head, const Headers& headers);

/// `bytes` as one chunk of a chunked body.
std::string write_chunk(std::string_view bytes);

}  // namespace nanobox::http::transport
