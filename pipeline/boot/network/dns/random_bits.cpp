#include "pipeline/boot/network/dns/random_bits.hpp"

#include "config/random_bytes.hpp"

namespace nanobox {

std::uint64_t random_bits() {
  std::uint64_t bits = 0;
  fill_random(std::as_writable_bytes(std::span(&bits, 1)));
  return bits;
}

}  // namespace nanobox
