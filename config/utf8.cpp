#include "config/utf8.hpp"

#include <algorithm>

namespace nanobox {

namespace {

// What its first byte says; 0 where a sequence cannot begin with it.
std::size_t announced_length(unsigned char first) {
  if (first < 0x80) return 1;
  if (first >= 0xc2 && first <= 0xdf) return 2;
  if (first >= 0xe0 && first <= 0xef) return 3;
  if (first >= 0xf0 && first <= 0xf4) return 4;
  return 0;
}

}  // namespace

std::size_t utf8_sequence_length(std::string_view bytes) {
  const auto at = [&](std::size_t i) { return static_cast<unsigned char>(bytes[i]); };
  const auto length = announced_length(at(0));
  if (length <= 1) return length;
  unsigned char low = 0x80, high = 0xbf;
  if (at(0) == 0xe0) low = 0xa0;
  if (at(0) == 0xed) high = 0x9f;
  if (at(0) == 0xf0) low = 0x90;
  if (at(0) == 0xf4) high = 0x8f;
  if (bytes.size() < length || at(1) < low || at(1) > high) return 0;
  for (std::size_t i = 2; i < length; ++i)
    if (at(i) < 0x80 || at(i) > 0xbf) return 0;
  return length;
}

bool is_utf8(std::string_view bytes) {
  while (!bytes.empty()) {
    const auto length = utf8_sequence_length(bytes);
    if (length == 0) return false;
    bytes.remove_prefix(length);
  }
  return true;
}

std::size_t utf8_before_cut(std::string_view bytes) {
  for (std::size_t back = 1; back <= std::min<std::size_t>(3, bytes.size()); ++back) {
    const auto length = announced_length(static_cast<unsigned char>(bytes[bytes.size() - back]));
    if (length > back) return bytes.size() - back;
    if (length != 0) break;
  }
  return bytes.size();
}

void Utf8Check::feed(std::string_view bytes) {
  while (valid_ && !cut_.empty() && !bytes.empty()) {
    cut_ += bytes.front();
    bytes.remove_prefix(1);
    if (cut_.size() < announced_length(static_cast<unsigned char>(cut_.front()))) continue;
    valid_ = is_utf8(cut_);
    cut_.clear();
  }
  while (valid_ && !bytes.empty()) {
    const auto length = utf8_sequence_length(bytes);
    if (length == 0) {
      if (bytes.size() >= announced_length(static_cast<unsigned char>(bytes.front())))
        valid_ = false;
      else
        cut_ = bytes;
      return;
    }
    bytes.remove_prefix(length);
  }
}

}  // namespace nanobox
