#pragma once

#include <cstdint>
#include <filesystem>
#include <limits>
#include <span>
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

/// Makes a qcow2 overlay, of mode 0600, in which nothing is allocated yet: what it shows is its backing file, and zeros
/// behind that one's end. Not synced: it is worth nothing without the machine that is about to write it. `path` must
/// not exist; nothing is left on failure.
/// @param size_bytes      as the guest sees it, at most 1 TiB
/// @param backing_name    what the header calls the backing file: 1 to 1023 bytes
/// @param backing_format  "raw" or "qcow2"
/// @errors  invalid_value · disk_full · io_failed
Result<void> create_empty_overlay(const std::filesystem::path& path, std::uint64_t size_bytes,
                                  const std::string& backing_name, const std::string& backing_format);

/// Where a raw base's size is not known.
constexpr std::uint64_t unknown_base_bytes = std::numeric_limits<std::uint64_t>::max();

/// Makes one qcow2 overlay, of mode 0600, that shows what a chain of them shows: of each cluster the topmost version.
/// Clusters of zeros stay that; clusters that no layer has show the base. Layers may differ in size: behind a layer's
/// end, what is below it is not seen but reads as zeros. The layers are only read and nothing in them is trusted.
/// `path` must not exist; nothing is left on failure.
/// @param layers        bottom first, all qcow2 (64 KiB clusters), the lowest over the raw base
/// @param size_bytes    as the guest sees it, at most 1 TiB; of a larger chain the rest is left out
/// @param backing_name  what the header calls the base: 1 to 1023 bytes
/// @param durable       the file's content is on the disk afterwards; its name is the caller's to sync
/// @param base_bytes    the base's size: what lies behind it is zeros without a mark that says so (8 bytes for 64 KiB,
///                      wherever a layer is larger than one below it)
/// @errors  io_failed: a layer is no such file, the subject names it · invalid_value: a layer ends within 64 KiB that
///          only the base has · disk_full
Result<void> flatten_overlays(const std::filesystem::path& path, std::span<const std::filesystem::path> layers,
                              std::uint64_t size_bytes, const std::string& backing_name, bool durable,
                              std::uint64_t base_bytes = unknown_base_bytes);

/// The size in bytes of the disk that a qcow2 file holds, as the guest sees it. Links are not followed.
/// @errors  io_failed
Result<std::uint64_t> overlay_size(const std::filesystem::path& path);

}  // namespace nanobox
