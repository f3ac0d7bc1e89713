#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace nanobox::http::json {

/// `bytes` with U+FFFD in place of each byte that does not belong.
std::string to_utf8(std::string_view bytes);

/// Base64 with padding (RFC 4648, section 4).
std::string to_base64(std::string_view bytes);

/// The inverse; nothing where `text` is no canonical base64.
std::optional<std::string> from_base64(std::string_view text);

/// Output of a program for JSON: as text where it is UTF-8, else as base64.
struct EncodedBytes {
  std::string text;
  std::string_view encoding;  ///< "utf-8" or "base64"
};
EncodedBytes encode_bytes(std::string bytes);

}  // namespace nanobox::http::json
