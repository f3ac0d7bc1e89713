#pragma once

#include <charconv>
#include <optional>
#include <string_view>

namespace nanobox {

/// All of `text` as a whole number; nothing where it is none, or beyond `Number`.
template <class Number>
std::optional<Number> whole_number(std::string_view text, int base = 10) {
  Number number = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), number, base);
  if (problem != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return number;
}

}  // namespace nanobox
