#pragma once

#include <cstddef>
#include <span>

namespace nanobox {

/// The shared object of private_memory.c, as it is preloaded into VMMs.
std::span<const std::byte> private_memory_object();

}  // namespace nanobox
