#include "tools/nanobox-inspect/time_window.hpp"

#include "config/clock.hpp"
#include "config/whole_number.hpp"
#include "tools/nanobox-inspect/run_view.hpp"

namespace nanobox::inspection {
namespace {

tl::unexpected<Error> no_moment(std::string_view text) {
  return fail({.code = ErrorCode::invalid_value,
               .attempted = "read time",
               .subject = std::string(text),
               .reason = "it is neither how long ago nor a time",
               .mend = "write 90s, 10m, 2h, 1d, now, or 2026-11-27T23:05:00Z"});
}

}  // namespace

Result<std::int64_t> parse_moment(std::string_view text, std::int64_t now_us) {
  if (text == "now") return now_us;
  if (const auto exact = unix_us(text)) return *exact;
  if (text.ends_with('Z')) {
    const auto exact = unix_us(std::string(text.substr(0, text.size() - 1)) + ".000Z");
    return exact ? Result<std::int64_t>(*exact) : no_moment(text);
  }
  auto digits = text;
  std::int64_t scale = 1;
  if (!digits.empty()) {
    switch (digits.back()) {
      case 'd':
        scale = 86'400;
        break;
      case 'h':
        scale = 3600;
        break;
      case 'm':
        scale = 60;
        break;
      default:
        break;
    }
    if (scale != 1 || digits.back() == 's') digits.remove_suffix(1);
  }
  const auto number = whole_number<std::uint32_t>(digits);
  if (!number) return no_moment(text);
  return now_us - static_cast<std::int64_t>(*number) * scale * 1'000'000;
}

Result<TimeWindow> parse_window(std::string_view text, std::int64_t now_us) {
  const auto dots = text.find("..");
  TimeWindow window;
  window.from_us = NANOBOX_TRY(parse_moment(text.substr(0, dots), now_us));
  window.until_us = dots == std::string_view::npos ? now_us : NANOBOX_TRY(parse_moment(text.substr(dots + 2), now_us));
  if (window.from_us < window.until_us) return window;
  return fail({.code = ErrorCode::invalid_value,
               .attempted = "read time",
               .subject = std::string(text),
               .reason = "it ends before it begins",
               .mend = "write the older end first: 10m..5m"});
}

std::string time_text(std::int64_t time_us) {
  return to_rfc3339(std::chrono::floor<std::chrono::milliseconds>(PreciseTime(std::chrono::microseconds(time_us))));
}

std::string clock_text(std::int64_t time_us) {
  return time_text(time_us).substr(11, 8);
}

}  // namespace nanobox::inspection
