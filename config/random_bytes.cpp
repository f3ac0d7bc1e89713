#include "config/random_bytes.hpp"

#include <sys/random.h>

#include <vector>

namespace nanobox {

void fill_random(std::span<std::byte> bytes) {
  while (!bytes.empty()) {
    const auto count = ::getrandom(bytes.data(), bytes.size(), 0);
    if (count > 0) bytes = bytes.subspan(static_cast<std::size_t>(count));  // else a signal came between
  }
}

std::string random_hex(std::size_t bytes) {
  std::vector<std::byte> random(bytes);
  fill_random(random);
  constexpr char digits[] = "0123456789abcdef";
  std::string text;
  for (const auto byte : random) {
    text += digits[std::to_integer<unsigned>(byte) >> 4];
    text += digits[std::to_integer<unsigned>(byte) & 15];
  }
  return text;
}

}  // namespace nanobox
