#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "config/error.hpp"

namespace nanobox {

/// Reads "512M", "2G", "1.5GiB", "700KB", "4096" as bytes. K, M, G, T are powers of 1024, with or without "iB" or "B".
/// A number alone is in units of `bare_unit` bytes (1 << 20 where a user means MiB).
/// @errors invalid_value: no such form, or beyond 2^63
Result<std::uint64_t> parse_byte_size(std::string_view text, std::uint64_t bare_unit = 1);

/// For people: "812 B", "3.4 MiB", "12.0 GiB".
std::string format_byte_size(std::uint64_t bytes);

}  // namespace nanobox
