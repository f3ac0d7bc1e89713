#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "config/error.hpp"

namespace nanobox {

/// Makes a qcow2 overlay of `size_bytes` over a raw ext4 image built by `build_rootfs`, and grows the file system to
/// that size: the changed metadata lies in the overlay, the base is only read and may be shared. At most 1 TiB. `path`
/// must not exist; nothing is left on failure.
/// @param size_bytes    rounded down to 4096; not below the base's size
/// @param backing_name  what the header calls the base (the VMM should name its nodes itself); empty: `base`
/// @errors  image_too_small (the mend names the least size) · invalid_value · file_unreadable · disk_full
/// @see     qemu docs/interop/qcow2.txt
Result<void> create_overlay(const std::filesystem::path& path, const std::filesystem::path& base,
                            std::uint64_t size_bytes, const std::string& backing_name = "");

}  // namespace nanobox
