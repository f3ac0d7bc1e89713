#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "config/error.hpp"
#include "pipeline/warmup/rootfs/ext4/directory.hpp"
#include "pipeline/warmup/rootfs/ext4/geometry.hpp"

namespace nanobox::ext4 {

/// Where a group's own blocks lie; flex_bg lets them lie anywhere.
struct GroupPlace {
  std::uint64_t block_bitmap = 0, inode_bitmap = 0, inode_table = 0;
};

struct UsedRun {
  std::uint64_t start = 0, count = 0;
};

/// All that superblock, descriptors and bitmaps are made from.
struct Frame {
  std::uint64_t blocks = 0;
  std::uint32_t inodes_per_group = 0;
  std::vector<GroupPlace> groups;
  std::vector<UsedRun> used;           ///< blocks of files and folders; those of the groups are added
  std::uint32_t last_inode = 0;        ///< inodes 1 to this are in use
  std::vector<std::uint32_t> folders;  ///< by group
  std::array<std::uint8_t, 16> uuid{};
  HashSeed hash_seed{};
  std::int64_t made_at = 0;  ///< seconds since 1970
};

/// Writes bitmaps, descriptors and superblocks with their copies, the first superblock last. Inode tables are the
/// caller's.
/// @returns  blocks in use
Result<std::uint64_t> write_frame(int image, const Frame& frame);

}  // namespace nanobox::ext4
