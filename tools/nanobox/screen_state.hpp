#pragma once

#include <string>
#include <string_view>

namespace nanobox::cli {

/// Watches what a program inside draws, to tidy up where the session ends before the program does.
class ScreenState {
public:
  void drawn(std::string_view bytes);
  /// What brings an ordinary screen back: cursor, colours, keys, mouse, and the screen as it was before an editor.
  std::string tidy_up() const;

private:
  std::string last_;  ///< bytes, as an escape sequence may be cut
  bool other_screen_ = false;
};

}  // namespace nanobox::cli
