#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "config/error.hpp"

namespace nanobox::inspection {

/// A part of the past, Unix microseconds: from `from_us` until before `until_us`.
struct TimeWindow {
  std::int64_t from_us = 0;
  std::int64_t until_us = 0;
  bool holds(std::int64_t time_us) const { return time_us >= from_us && time_us < until_us; }
};

/// "now", how long ago ("90s", "10m", "2h", "1d"; a number alone is seconds), or an RFC 3339 time in UTC.
/// @errors invalid_value
Result<std::int64_t> parse_moment(std::string_view text, std::int64_t now_us);

/// "10m..5m", "5m..now"; "10m" alone reaches until now. @errors invalid_value
Result<TimeWindow> parse_window(std::string_view text, std::int64_t now_us);

/// RFC 3339, as the API's `since` takes it.
std::string time_text(std::int64_t time_us);

/// "23:05:01" in UTC.
std::string clock_text(std::int64_t time_us);

}  // namespace nanobox::inspection
