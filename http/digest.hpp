#pragma once

#include <string>
#include <string_view>

namespace nanobox::http {

/// SHA-256 as 64 hex digits.
std::string sha256_hex(std::string_view bytes);

}  // namespace nanobox::http
