#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace nanobox {

/// Fills `bytes` from the kernel's generator (getrandom(2)). Waits for the pool to be seeded, which on a running host
/// it is.
void fill_random(std::span<std::byte> bytes);

/// So many random bytes as lower-case hex.
std::string random_hex(std::size_t bytes);

}  // namespace nanobox
