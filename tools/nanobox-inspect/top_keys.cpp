#include "tools/nanobox-inspect/top_keys.hpp"

#include <array>
#include <optional>
#include <utility>

namespace nanobox::inspection {
namespace {

constexpr std::array<std::pair<std::string_view, Key>, 14> kSequences = {{
    {"\x1b[A", Key::up},
    {"\x1bOA", Key::up},
    {"\x1b[B", Key::down},
    {"\x1bOB", Key::down},
    {"\x1b[D", Key::back},
    {"\x1b[C", Key::enter},
    {"\x1b[5~", Key::page_up},
    {"\x1b[6~", Key::page_down},
    {"\x1b[H", Key::home},
    {"\x1bOH", Key::home},
    {"\x1b[1~", Key::home},
    {"\x1b[F", Key::end},
    {"\x1bOF", Key::end},
    {"\x1b[4~", Key::end},
}};

std::optional<Key> key_of(char letter) {
  switch (letter) {
    case 'k':
      return Key::up;
    case 'j':
      return Key::down;
    case 'g':
      return Key::home;
    case 'G':
      return Key::end;
    case '\r':
    case '\n':
      return Key::enter;
    case 0x7f:
    case '\b':
      return Key::back;
    case 'q':
    case 0x03:
    case 0x04:
      return Key::quit;
    case 's':
      return Key::order_stages;
    case 'o':
      return Key::order_runs;
    case 'w':
      return Key::window;
    case 'p':
    case ' ':
      return Key::pause;
    case '?':
    case 'h':
      return Key::help;
    case 0x0c:
      return Key::redraw;
    default:
      return std::nullopt;
  }
}

/// The bytes of the escape sequence that the text begins with.
std::size_t sequence_length(std::string_view text) {
  if (text.size() < 2 || (text[1] != '[' && text[1] != 'O')) return 1;
  for (std::size_t at = 2; at < text.size(); ++at)
    if (text[at] >= 0x40 && text[at] <= 0x7e) return at + 1;
  return text.size();
}

}  // namespace

std::vector<Key> keys_of(std::string_view bytes) {
  std::vector<Key> keys;
  while (!bytes.empty()) {
    if (bytes.front() != '\x1b') {
      if (const auto key = key_of(bytes.front())) keys.push_back(*key);
      bytes.remove_prefix(1);
      continue;
    }
    const auto length = sequence_length(bytes);
    if (length == 1) keys.push_back(Key::back);
    for (const auto& [sequence, key] : kSequences)
      if (bytes.substr(0, length) == sequence) keys.push_back(key);
    bytes.remove_prefix(length);
  }
  return keys;
}

}  // namespace nanobox::inspection
