#pragma once

#include <string>
#include <string_view>

namespace nanobox::cli {

/// What a person types into a terminal session, without what is meant for us (as ssh's): at the beginning of a line
/// `~.` leaves, `~?` explains, `~^Z` suspends us, `~~` is one `~`. A `~` before any other key is just that.
class EscapeKeys {
public:
  struct Typed {
    std::string bytes;  ///< for the session
    bool leave = false;
    bool explain = false;
    bool suspend = false;
  };
  Typed take(std::string_view bytes);

private:
  bool at_line_start_ = true;
  bool after_tilde_ = false;
};

}  // namespace nanobox::cli
