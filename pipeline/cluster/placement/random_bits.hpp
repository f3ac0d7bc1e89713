#pragma once

#include <cstdint>

namespace nanobox {

/// Pseudorandom numbers (splitmix64) that are the same for the same seed everywhere. Not for secrets.
class RandomBits {
public:
  explicit RandomBits(std::uint64_t seed) : state_(seed) {}

  std::uint64_t next() {
    std::uint64_t bits = state_ += 0x9e3779b97f4a7c15U;
    bits = (bits ^ bits >> 30) * 0xbf58476d1ce4e5b9U;
    bits = (bits ^ bits >> 27) * 0x94d049bb133111ebU;
    return bits ^ bits >> 31;
  }

  /// One of 0..limit-1; 0 for a limit of 0. Even but for one part in 2^32/limit.
  std::uint32_t below(std::uint32_t limit) { return static_cast<std::uint32_t>((next() >> 32) * limit >> 32); }

private:
  std::uint64_t state_;
};

}  // namespace nanobox
