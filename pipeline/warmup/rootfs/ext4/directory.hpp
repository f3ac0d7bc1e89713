#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "pipeline/warmup/rootfs/ext4/geometry.hpp"

namespace nanobox::ext4 {

/// What a folder's entry says of the kind of its inode.
enum class FileKind : std::uint8_t { file = 1, folder = 2, char_device = 3, block_device = 4, fifo = 5, symlink = 7 };

struct FolderEntry {
  std::string_view name;
  std::uint32_t inode = 0;
  FileKind kind = FileKind::file;
};

using HashSeed = std::array<std::uint32_t, 4>;

struct FolderBlocks {
  std::vector<std::byte> bytes;  ///< whole blocks, in logical order
  bool hashed = false;           ///< the inode needs the index flag
};

/// Encodes a folder: one linear block where it fits, else a hash tree (half MD4, signed), for the kernel never converts
/// a linear folder of several blocks. `entries` without "." and "..", each name once.
FolderBlocks encode_folder(std::uint32_t self, std::uint32_t parent, std::span<const FolderEntry> entries,
                           const HashSeed& seed);

}  // namespace nanobox::ext4
