#include "tools/nanobox/escape_keys.hpp"

namespace nanobox::cli {

EscapeKeys::Typed EscapeKeys::take(std::string_view bytes) {
  constexpr char suspend_key = 'Z' & 0x1f;
  Typed typed;
  for (const char key : bytes) {
    if (after_tilde_) {
      after_tilde_ = false;
      if (key == '.') {
        typed.leave = true;
        return typed;
      }
      if (key == '?' || key == suspend_key) {
        (key == '?' ? typed.explain : typed.suspend) = true;
        at_line_start_ = true;
        continue;
      }
      typed.bytes += '~';
      at_line_start_ = false;
      if (key == '~') continue;
    } else if (at_line_start_ && key == '~') {
      after_tilde_ = true;
      continue;
    }
    typed.bytes += key;
    at_line_start_ = key == '\r' || key == '\n';
  }
  return typed;
}

}  // namespace nanobox::cli
