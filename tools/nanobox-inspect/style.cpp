#include "tools/nanobox-inspect/style.hpp"

#include <algorithm>
#include <cstdio>

#include "tools/nanobox/table.hpp"

namespace nanobox::inspection {
namespace {

std::string value_of(const Environment& environment, std::string_view name) {
  const auto found = environment.find(std::string(name));
  return found == environment.end() ? "" : found->second;
}

bool is_utf8(const Environment& environment) {
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    auto value = value_of(environment, name);
    if (value.empty()) continue;
    std::ranges::transform(value, value.begin(), [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
    return value.find("UTF-8") != std::string::npos || value.find("UTF8") != std::string::npos;
  }
  return false;
}

/// As many whole characters as fit.
std::string_view first_columns(std::string_view text, std::size_t columns) {
  std::size_t at = 0;
  for (std::size_t taken = 0; at < text.size(); ++at) {
    const bool begins = (static_cast<unsigned char>(text[at]) & 0xC0) != 0x80;
    if (begins && taken++ == columns) break;
  }
  return text.substr(0, at);
}

std::string number_text(const char* form, double number, const char* unit) {
  char text[64];
  std::snprintf(text, sizeof text, form, number);
  return std::string(text) + unit;
}

std::string cut(Style style, std::string_view text, std::size_t columns) {
  const auto clean = cli::printable(text);
  if (cli::columns_of(clean) <= columns) return clean;
  if (columns == 0) return "";
  return std::string(first_columns(clean, columns - 1)) + (style.unicode ? "…" : "~");
}

}  // namespace

Style style_for(const Environment& environment, bool is_terminal) {
  return {.colour = is_terminal && value_of(environment, "NO_COLOR").empty() && value_of(environment, "TERM") != "dumb",
          .unicode = is_utf8(environment)};
}

std::string painted(Style style, std::string_view ink, std::string_view text) {
  if (!style.colour || ink.empty() || text.empty()) return std::string(text);
  return "\x1b[" + std::string(ink) + "m" + std::string(text) + "\x1b[0m";
}

std::string_view ink_of_status(std::string_view status) {
  if (status == "succeeded" || status == "ready") return ink::green;
  if (status == "failed" || status == "lost") return ink::red;
  if (status == "running") return ink::cyan;
  if (status == "undone" || status == "cancelled" || status == "unready" || status == "draining") return ink::yellow;
  return ink::dim;
}

std::string fitted(Style style, std::string_view text, std::size_t columns) {
  return filled(cut(style, text, columns), columns);
}

std::string fitted_in_middle(Style style, std::string_view text, std::size_t columns) {
  const auto clean = cli::printable(text);
  const auto all = cli::columns_of(clean);
  if (all <= columns || columns < 3) return fitted(style, clean, columns);
  const auto head = (columns - 1) / 2;
  const auto before_tail = first_columns(clean, all - (columns - 1 - head)).size();
  return std::string(first_columns(clean, head)) + (style.unicode ? "…" : "~") + clean.substr(before_tail);
}

std::string fitted_right(Style style, std::string_view text, std::size_t columns) {
  auto shown = cut(style, text, columns);
  return std::string(columns - std::min(columns, cli::columns_of(shown)), ' ') + shown;
}

std::size_t visible_columns(std::string_view line) {
  std::size_t columns = 0;
  for (std::size_t at = 0; at < line.size(); ++at) {
    if (line[at] == '\x1b') {
      at = line.find('m', at);
      if (at == std::string_view::npos) break;
    } else if ((static_cast<unsigned char>(line[at]) & 0xC0) != 0x80) {
      ++columns;
    }
  }
  return columns;
}

std::string filled(std::string line, std::size_t columns) {
  const auto taken = visible_columns(line);
  if (taken < columns) line.append(columns - taken, ' ');
  return line;
}

std::string span_text(std::int64_t microseconds) {
  const auto number = static_cast<double>(microseconds);
  if (microseconds < 1000) return std::to_string(microseconds) + " us";
  if (microseconds < 10'000) return number_text("%.2f", number / 1e3, " ms");
  if (microseconds < 99'950) return number_text("%.1f", number / 1e3, " ms");
  if (microseconds < 999'500) return number_text("%.0f", number / 1e3, " ms");
  if (microseconds < 10'000'000) return number_text("%.2f", number / 1e6, " s");
  if (microseconds < 60'000'000) return number_text("%.1f", number / 1e6, " s");
  return cli::duration_text(microseconds / 1000);
}

std::string size_text(std::uint64_t bytes) {
  if (bytes == 0) return "";
  if (bytes < 1024) return std::to_string(bytes) + " B";
  auto number = static_cast<double>(bytes);
  const char* const units[] = {" KiB", " MiB", " GiB", " TiB"};
  std::size_t unit = 0;
  for (number /= 1024; number >= 1023.95 && unit < 3; number /= 1024) ++unit;
  return number_text("%.1f", number, units[unit]);
}

std::string rate_text(std::uint64_t bytes, std::int64_t microseconds) {
  if (bytes == 0 || microseconds <= 0) return "";
  const auto per_second = static_cast<double>(bytes) * 1e6 / static_cast<double>(microseconds);
  return size_text(std::max<std::uint64_t>(1, static_cast<std::uint64_t>(per_second))) + "/s";
}

std::string ago_text(std::int64_t then_us, std::int64_t now_us) {
  const auto seconds = std::max<std::int64_t>(0, (now_us - then_us) / 1'000'000);
  if (seconds < 60) return std::to_string(seconds) + "s";
  if (seconds < 3600) return std::to_string(seconds / 60) + "m";
  if (seconds < 48 * 3600) return std::to_string(seconds / 3600) + "h";
  return std::to_string(seconds / 86'400) + "d";
}

}  // namespace nanobox::inspection
