#include "tools/nanobox/screen_state.hpp"

namespace nanobox::cli {

void ScreenState::drawn(std::string_view bytes) {
  constexpr std::string_view enters = "\x1b[?1049h", leaves = "\x1b[?1049l";
  last_ += bytes;
  const auto entered = last_.rfind(enters), left = last_.rfind(leaves);
  if (entered != std::string::npos || left != std::string::npos)
    other_screen_ = entered != std::string::npos && (left == std::string::npos || entered > left);
  if (last_.size() >= enters.size()) last_.erase(0, last_.size() - (enters.size() - 1));
}

std::string ScreenState::tidy_up() const {
  // Leaving the other screen moves the cursor, so only where it is shown.
  std::string text = other_screen_ ? "\x1b[?1049l" : "";
  return text + "\x1b[0m\x1b[?25h\x1b[?1l\x1b>\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?2004l";
}

}  // namespace nanobox::cli
