#include "config/clock.hpp"

#include <cstdio>

namespace nanobox {

PreciseTime precise_now() {
  return std::chrono::time_point_cast<std::chrono::microseconds>(std::chrono::system_clock::now());
}

WallTime wall_now() {
  return std::chrono::time_point_cast<std::chrono::milliseconds>(std::chrono::system_clock::now());
}

std::string to_rfc3339(WallTime time) {
  using namespace std::chrono;
  const auto day = floor<days>(time);
  const year_month_day date(day);
  const hh_mm_ss clock(time - day);
  char text[40];
  std::snprintf(text, sizeof text, "%04d-%02u-%02uT%02d:%02d:%02d.%03dZ", static_cast<int>(date.year()),
                static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                static_cast<int>(clock.hours().count()), static_cast<int>(clock.minutes().count()),
                static_cast<int>(clock.seconds().count()), static_cast<int>(clock.subseconds().count()));
  return text;
}

std::optional<WallTime> from_rfc3339(std::string_view text) {
  using namespace std::chrono;
  int y = 0, h = 0, m = 0, s = 0, ms = 0, used = 0;
  unsigned mo = 0, d = 0;
  const std::string copy(text);
  if (std::sscanf(copy.c_str(), "%4d-%2u-%2uT%2d:%2d:%2d.%3dZ%n", &y, &mo, &d, &h, &m, &s, &ms, &used) != 7 ||
      static_cast<std::size_t>(used) != text.size())
    return std::nullopt;
  const year_month_day date{year{y}, month{mo}, day{d}};
  if (!date.ok() || h > 23 || m > 59 || s > 60) return std::nullopt;
  return WallTime(sys_days(date).time_since_epoch() + hours{h} + minutes{m} + seconds{s} + milliseconds{ms});
}

}  // namespace nanobox
