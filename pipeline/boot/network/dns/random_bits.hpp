#pragma once

#include <cstdint>

namespace nanobox {

/// From the kernel: nobody can guess it. Blocks only before the machine's entropy is ready, which is long before us.
std::uint64_t random_bits();

}  // namespace nanobox
