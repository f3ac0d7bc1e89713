#include "config/byte_size.hpp"

#include <charconv>
#include <cmath>
#include <cstdio>

namespace nanobox {
namespace {

tl::unexpected<Error> refuse(std::string_view text, std::string reason) {
  return fail({.code = ErrorCode::invalid_value,
               .attempted = "read size",
               .subject = std::string(text),
               .reason = std::move(reason),
               .mend = "write a number with K, M, G or T, as 512M or 1.5G"});
}

/// Bytes of one unit; 0: there is no such unit.
std::uint64_t unit_bytes(std::string_view unit, std::uint64_t bare_unit) {
  if (unit.empty()) return bare_unit;
  if (unit == "B" || unit == "b") return 1;
  const auto rest = unit.substr(1);
  if (!rest.empty() && rest != "B" && rest != "iB" && rest != "b" && rest != "ib") return 0;
  switch (unit.front()) {
    case 'k':
    case 'K':
      return 1ULL << 10;
    case 'm':
    case 'M':
      return 1ULL << 20;
    case 'g':
    case 'G':
      return 1ULL << 30;
    case 't':
    case 'T':
      return 1ULL << 40;
    default:
      return 0;
  }
}

}  // namespace

Result<std::uint64_t> parse_byte_size(std::string_view text, std::uint64_t bare_unit) {
  double number = 0;
  const auto [end, wrong] = std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
  if (wrong != std::errc{} || !std::isfinite(number) || number < 0)
    return refuse(text, "it does not begin with a number");
  auto unit = text.substr(static_cast<std::size_t>(end - text.data()));
  while (!unit.empty() && unit.front() == ' ') unit.remove_prefix(1);
  const auto scale = unit_bytes(unit, bare_unit);
  if (scale == 0) return refuse(text, "'" + std::string(unit) + "' is no unit");
  const double bytes = number * static_cast<double>(scale);
  if (bytes >= 0x1p63) return refuse(text, "it is too large");
  // Whole numbers stay exact where a double no longer is.
  std::uint64_t whole = 0;
  const auto digits = text.substr(0, static_cast<std::size_t>(end - text.data()));
  const auto [whole_end, not_whole] = std::from_chars(digits.data(), digits.data() + digits.size(), whole);
  if (not_whole == std::errc{} && whole_end == digits.data() + digits.size()) return whole * scale;
  return static_cast<std::uint64_t>(std::llround(bytes));
}

std::string format_byte_size(std::uint64_t bytes) {
  if (bytes < 1024) return std::to_string(bytes) + " B";
  static constexpr const char* kUnits[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  double number = static_cast<double>(bytes);
  std::size_t unit = 0;
  for (number /= 1024; number >= 1023.95 && unit + 1 < std::size(kUnits); ++unit) number /= 1024;
  char text[32];
  std::snprintf(text, sizeof text, "%.1f %s", number, kUnits[unit]);
  return text;
}

}  // namespace nanobox
