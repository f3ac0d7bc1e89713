#include "config/id.hpp"

#include <array>
#include <chrono>
#include <cstdint>
#include <span>

#include "config/random_bytes.hpp"

namespace nanobox {
namespace {
constexpr std::string_view kAlphabet = "0123456789abcdefghjkmnpqrstvwxyz";
constexpr std::size_t kUlidLength = 26;
}  // namespace

std::string make_id(std::string_view prefix) {
  using namespace std::chrono;
  std::array<std::uint8_t, 16> bytes{};
  auto millis = static_cast<std::uint64_t>(duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count());
  for (int i = 5; i >= 0; --i, millis >>= 8) bytes[static_cast<std::size_t>(i)] = static_cast<std::uint8_t>(millis);
  fill_random(std::as_writable_bytes(std::span(bytes).subspan(6)));
  // 26 characters of 5 bits hold 130 bits: the first carries only the top three of the 128.
  std::string id(prefix);
  id += '-';
  for (std::size_t character = 0; character < kUlidLength; ++character) {
    unsigned value = 0;
    for (std::size_t bit = 0; bit < 5; ++bit) {
      const std::size_t position = character * 5 + bit;
      value <<= 1;
      if (position < 2) continue;
      const std::size_t index = position - 2;
      value |= (bytes[index / 8] >> (7 - index % 8)) & 1U;
    }
    id += kAlphabet[value];
  }
  return id;
}

bool is_id(std::string_view text, std::string_view prefix) {
  if (text.size() != prefix.size() + 1 + kUlidLength || !text.starts_with(prefix) || text[prefix.size()] != '-')
    return false;
  return text.find_first_not_of(kAlphabet, prefix.size() + 1) == std::string_view::npos;
}

}  // namespace nanobox
