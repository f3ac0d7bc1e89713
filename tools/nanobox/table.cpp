#include "tools/nanobox/table.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdio>

#include "config/clock.hpp"

namespace nanobox::cli {

std::string printable(std::string_view text) {
  std::string out;
  for (const char c : text) out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
  return out;
}

std::size_t columns_of(std::string_view text) {
  return static_cast<std::size_t>(
      std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

std::string Table::text() const {
  std::vector<std::size_t> widths;
  for (const auto& row : rows_)
    for (std::size_t column = 0; column < row.size(); ++column) {
      if (widths.size() <= column) widths.push_back(0);
      widths[column] = std::max(widths[column], columns_of(row[column]));
    }
  std::string out;
  for (const auto& row : rows_) {
    std::string line;
    for (std::size_t column = 0; column < row.size(); ++column) {
      const auto cell = printable(row[column]);
      line += cell;
      if (column + 1 < row.size()) line.append(widths[column] - columns_of(cell) + 2, ' ');
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + "\n";
  }
  return out;
}

std::string age_text(std::string_view rfc3339) {
  const auto time = from_rfc3339(rfc3339);
  if (!time) return "";
  auto seconds = std::chrono::duration_cast<std::chrono::seconds>(wall_now() - *time).count();
  const bool ahead = seconds < 0;
  seconds = std::abs(seconds);
  std::string text = seconds < 60          ? std::to_string(seconds) + "s"
                     : seconds < 3600      ? std::to_string(seconds / 60) + "m"
                     : seconds < 48 * 3600 ? std::to_string(seconds / 3600) + "h"
                                           : std::to_string(seconds / 86400) + "d";
  return ahead ? "in " + text : text;
}

std::string moment_text(std::string_view rfc3339) {
  const std::string time(rfc3339);
  const auto age = age_text(time);
  if (age.empty()) return time;
  return time + " (" + (age.starts_with("in ") ? age : age + " ago") + ")";
}

std::string duration_text(std::int64_t milliseconds) {
  if (milliseconds < 1000) return std::to_string(milliseconds) + " ms";
  char text[48];
  if (milliseconds < 60'000)
    std::snprintf(text, sizeof text, "%.1f s", static_cast<double>(milliseconds) / 1000);
  else
    std::snprintf(text, sizeof text, "%lldm %02llds", static_cast<long long>(milliseconds / 60'000),
                  static_cast<long long>(milliseconds / 1000 % 60));
  return text;
}

}  // namespace nanobox::cli
