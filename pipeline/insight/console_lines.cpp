#include "pipeline/insight/console_lines.hpp"

#include "config/utf8.hpp"

namespace nanobox {

namespace {

std::string to_utf8(std::string_view bytes) {
  std::string text;
  text.reserve(bytes.size());
  while (!bytes.empty()) {
    const auto length = utf8_sequence_length(bytes);
    if (length == 0)
      text += "\xEF\xBF\xBD";
    else if (bytes.front() != '\r' && bytes.front() != '\0')
      text += bytes.substr(0, length);
    bytes.remove_prefix(length == 0 ? 1 : length);
  }
  return text;
}

/// Its end of at most `max` bytes, which begins with a character.
std::string_view end_of(std::string_view text, std::size_t max) {
  if (text.size() > max) text.remove_prefix(text.size() - max);
  while (!text.empty() && (static_cast<unsigned char>(text.front()) & 0xC0) == 0x80) text.remove_prefix(1);
  return text;
}

}  // namespace

std::string last_console_lines(std::string_view console, std::size_t max) {
  const auto text = to_utf8(end_of(console, max));
  auto kept = end_of(text, max);
  if (kept.size() == text.size() && console.size() <= max) return text;
  if (const auto line = kept.find('\n'); line != std::string_view::npos && line + 1 < kept.size())
    kept.remove_prefix(line + 1);
  return std::string(kept);
}

}  // namespace nanobox
