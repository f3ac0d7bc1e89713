#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace nanobox {

/// The length of the UTF-8 sequence (RFC 3629) at the beginning of `bytes`, which are not empty; 0 where there is none.
std::size_t utf8_sequence_length(std::string_view bytes);

/// Whether `bytes` are valid UTF-8: no overlong forms, no surrogates, nothing above U+10FFFF.
bool is_utf8(std::string_view bytes);

/// How many of `bytes` are before a sequence that is cut at their end; all of them where none is.
std::size_t utf8_before_cut(std::string_view bytes);

/// The same for bytes that come in pieces.
class Utf8Check {
public:
  void feed(std::string_view bytes);
  /// Whether all that came so far is valid, a sequence cut at its end not.
  bool valid() const { return valid_ && cut_.empty(); }

private:
  std::string cut_;  ///< the beginning of a sequence, at most 3 bytes
  bool valid_ = true;
};

}  // namespace nanobox
