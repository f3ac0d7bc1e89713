#pragma once

#include <cstddef>
#include <span>

namespace nanobox {

/// The static binary that is injected into every root as /sbin/nanobox-init.
std::span<const std::byte> embedded_init();

}  // namespace nanobox
