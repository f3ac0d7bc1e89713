#include "http/resources/time_parameter.hpp"

#include "config/whole_number.hpp"
#include "http/resources/ask.hpp"

namespace nanobox::http {

namespace {

/// So many digits at the beginning of `text`, which it is shortened by.
std::optional<int> digits(std::string_view& text, std::size_t count) {
  if (text.size() < count || text.substr(0, count).find_first_not_of("0123456789") != std::string_view::npos)
    return std::nullopt;
  const auto number = whole_number<int>(text.substr(0, count));
  text.remove_prefix(count);
  return number;
}

bool take(std::string_view& text, std::string_view any_of) {
  if (text.empty() || any_of.find(text.front()) == std::string_view::npos) return false;
  text.remove_prefix(1);
  return true;
}

/// "Z" or "+02:00", and nothing behind it.
std::optional<std::chrono::minutes> offset(std::string_view text) {
  if (text == "Z" || text == "z") return std::chrono::minutes(0);
  const bool west = text.starts_with('-');
  if (!take(text, "+-")) return std::nullopt;
  const auto hours = digits(text, 2);
  if (!hours || *hours > 23 || !take(text, ":")) return std::nullopt;
  const auto minutes = digits(text, 2);
  if (!minutes || *minutes > 59 || !text.empty()) return std::nullopt;
  const auto sum = std::chrono::hours(*hours) + std::chrono::minutes(*minutes);
  return west ? -sum : sum;
}

}  // namespace

std::optional<WallTime> parse_time(std::string_view text) {
  const auto year = digits(text, 4);
  if (!year || !take(text, "-")) return std::nullopt;
  const auto month = digits(text, 2);
  if (!month || !take(text, "-")) return std::nullopt;
  const auto day = digits(text, 2);
  if (!day || !take(text, "Tt")) return std::nullopt;
  const auto hour = digits(text, 2);
  if (!hour || !take(text, ":")) return std::nullopt;
  const auto minute = digits(text, 2);
  if (!minute || !take(text, ":")) return std::nullopt;
  const auto second = digits(text, 2);
  if (!second || *hour > 23 || *minute > 59 || *second > 60) return std::nullopt;
  std::int64_t milliseconds = 0;
  if (take(text, ".")) {
    const auto count = std::min(text.find_first_not_of("0123456789"), text.size());
    if (count == 0) return std::nullopt;
    const std::string thousandths = (std::string(text.substr(0, count)) + "00").substr(0, 3);
    milliseconds = *whole_number<int>(thousandths);
    text.remove_prefix(count);
  }
  const auto east = offset(text);
  const std::chrono::year_month_day date{std::chrono::year(*year), std::chrono::month(static_cast<unsigned>(*month)),
                                         std::chrono::day(static_cast<unsigned>(*day))};
  if (!east || !date.ok()) return std::nullopt;
  return std::chrono::sys_days(date) + std::chrono::hours(*hour) + std::chrono::minutes(*minute) +
         std::chrono::seconds(*second) + std::chrono::milliseconds(milliseconds) - *east;
}

Result<std::optional<WallTime>> time_parameter(const Request& request, const std::string& name) {
  const auto text = request.query_parameter(name);
  if (!text) return std::optional<WallTime>();
  // A '+' that was not escaped is a space by now.
  std::string meant(*text);
  for (char& c : meant) c = c == ' ' ? '+' : c;
  if (const auto time = parse_time(meant)) return time;
  return fail(invalid_parameter("read query", "?" + name, "must be a time as RFC 3339 has it",
                                "write it as 2026-11-24T22:56:29Z"));
}

}  // namespace nanobox::http
