#pragma once

#include <cstddef>
#include <span>

namespace nanobox {

/// The tiny guest of guest.S, an ELF file that QEMU's `-kernel` takes.
std::span<const std::byte> probe_guest();
/// What its debug exit makes of QEMU's exit code when all went well.
inline constexpr int probe_guest_success = (0x2A << 1) | 1;

}  // namespace nanobox
