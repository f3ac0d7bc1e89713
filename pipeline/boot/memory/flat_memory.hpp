#pragma once

#include <cstdint>
#include <filesystem>

#include "config/error.hpp"
#include "pipeline/boot/memory/memory_layer.hpp"

namespace nanobox {

/// A VMM's preload maps at most so many stretches of data of a memory file (private_memory.c).
inline constexpr std::size_t memory_file_extents_max = 256;

/// Writes `contents` as one sparse memory file, mode 0444, that guests can start from. The base is a reflink where the
/// file system has them. Pages of zeros in the layer and among the newest are holes, except for the smallest of those
/// that would make more than 256 extents; the base's own zeros stay as they are. Blocking.
/// @param path     must not exist; removed on failure
/// @param durable  written through to the device (the file, not its name in the folder)
/// @errors invalid_value (sizes or runs that do not fit together) · file_unreadable (the base) · disk_full · io_failed
Result<void> write_memory_file(const std::filesystem::path& path, const MemoryContents& contents, bool durable);

/// The CRC-32C of a file's size (u64) and, for each page of 4096 bytes that is not all zero, its number (u64) and the
/// CRC-32C of its bytes (u32), ascending, all little-endian: the same for a hole and for written zeros. A last page
/// that is cut counts as filled with zeros. Holes are not read. Blocking. @errors file_unreadable · io_failed
Result<std::uint32_t> checksum_of_file(const std::filesystem::path& path);

}  // namespace nanobox
