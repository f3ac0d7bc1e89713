#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace nanobox {

/// Wall clock time with the API's resolution.
using WallTime = std::chrono::sys_time<std::chrono::milliseconds>;

/// The same, for how long things took.
using PreciseTime = std::chrono::sys_time<std::chrono::microseconds>;

WallTime wall_now();
PreciseTime precise_now();

/// RFC 3339 in UTC with milliseconds: "2026-11-24T22:56:29.123Z".
std::string to_rfc3339(WallTime time);

/// The inverse of `to_rfc3339`; nothing for any other form.
std::optional<WallTime> from_rfc3339(std::string_view text);

}  // namespace nanobox
