#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace nanobox::ext4 {

/// Bits in the order ext4 has them on disk.
class Bitmap {
public:
  explicit Bitmap(std::uint64_t bits) : words_((bits + kBits - 1) / kBits) {}

  void set(std::uint64_t from, std::uint64_t count) {
    change(from, count, [](std::uint64_t& word, std::uint64_t mask) { word |= mask; });
  }
  void clear(std::uint64_t from, std::uint64_t count) {
    change(from, count, [](std::uint64_t& word, std::uint64_t mask) { word &= ~mask; });
  }
  /// Set bits among `bits` from `from`, both multiples of 64.
  std::uint64_t count(std::uint64_t from, std::uint64_t bits) const {
    std::uint64_t sum = 0;
    for (auto at = from; at < from + bits; at += kBits)
      sum += static_cast<std::uint64_t>(std::popcount(words_[at / kBits]));
    return sum;
  }
  std::span<const std::byte> bytes(std::uint64_t from, std::uint64_t bits) const {
    return std::as_bytes(std::span(words_).subspan(from / kBits, bits / kBits));
  }
  std::span<std::byte> writable_bytes() { return std::as_writable_bytes(std::span(words_)); }

private:
  static constexpr std::uint64_t kBits = 64;

  template <class Change>
  void change(std::uint64_t from, std::uint64_t count, Change apply) {
    const auto end = from + count;
    while (from < end) {
      const auto in_word = from % kBits;
      const auto now = std::min(end - from, kBits - in_word);
      apply(words_[from / kBits], now == kBits ? ~0ULL : ((1ULL << now) - 1) << in_word);
      from += now;
    }
  }

  std::vector<std::uint64_t> words_;
};

}  // namespace nanobox::ext4
