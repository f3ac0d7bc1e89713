#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "config/settings.hpp"

namespace nanobox::inspection {

/// How things are drawn: colours only on a terminal (and never with NO_COLOR), lines and blocks only where the
/// locale is UTF-8.
struct Style {
  bool colour = false;
  bool unicode = false;
};
Style style_for(const Environment& environment, bool is_terminal);

/// SGR parameters.
namespace ink {
inline constexpr std::string_view none = "", bold = "1", dim = "2", red = "31", green = "32", yellow = "33",
                                  blue = "34", cyan = "36", reverse = "7";
}

/// The text in a colour, where there are colours.
std::string painted(Style style, std::string_view ink, std::string_view text);

/// The colour of a run's, stage's or node's status.
std::string_view ink_of_status(std::string_view status);

/// Exactly so many columns: filled with blanks, or cut with a mark. The text has no escape sequences.
std::string fitted(Style style, std::string_view text, std::size_t columns);
/// The same, cut in the middle.
std::string fitted_in_middle(Style style, std::string_view text, std::size_t columns);
/// The same, pushed to the right.
std::string fitted_right(Style style, std::string_view text, std::size_t columns);

/// How many columns a line takes, its colours not counted.
std::size_t visible_columns(std::string_view line);
/// A line with colours, filled with blanks.
std::string filled(std::string line, std::size_t columns);

/// Three digits: "812 us", "3.21 ms", "45.6 s"; "2m 05s".
std::string span_text(std::int64_t microseconds);
/// "512 B/s", "12.3 MiB/s"; "" where nothing was moved.
std::string rate_text(std::uint64_t bytes, std::int64_t microseconds);
/// "12.3 MiB"; "" for none.
std::string size_text(std::uint64_t bytes);
/// "4s", "3m", "2h", "5d": how long ago.
std::string ago_text(std::int64_t then_us, std::int64_t now_us);

}  // namespace nanobox::inspection
