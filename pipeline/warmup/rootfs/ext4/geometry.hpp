#pragma once

#include <cstdint>

namespace nanobox::ext4 {

/// The shape that all our images share (design/ext4.md): 4 KiB blocks, 256-byte inodes, 32-byte descriptors.
inline constexpr std::uint32_t kBlockBytes = 4096;
inline constexpr std::uint32_t kBlocksPerGroup = 32'768;
inline constexpr std::uint32_t kInodeBytes = 256;
inline constexpr std::uint32_t kInodesPerBlock = kBlockBytes / kInodeBytes;
inline constexpr std::uint32_t kMostInodesPerGroup = 32'768;
inline constexpr std::uint32_t kDescriptorBytes = 32;
inline constexpr std::uint32_t kDescriptorsPerBlock = kBlockBytes / kDescriptorBytes;
inline constexpr std::uint32_t kMostExtentBlocks = 32'768;
inline constexpr std::uint32_t kLogGroupsPerFlex = 4;
inline constexpr std::uint32_t kRootInode = 2, kFirstInode = 11;

/// Room kept free behind each superblock for the descriptors of 1 TiB, so that an image can grow to that.
inline constexpr std::uint32_t kDescriptorRoom = 64;
inline constexpr std::uint64_t kMostBlocks = std::uint64_t{kDescriptorRoom} * kDescriptorsPerBlock * kBlocksPerGroup;
inline constexpr std::uint32_t kFirstFreeBlock = 1 + kDescriptorRoom;

/// Whether the group begins with a superblock and descriptors (sparse_super: 0, 1 and powers of 3, 5, 7).
bool has_superblock(std::uint64_t group);
/// `block`, or the first one after the reserved room it lies in.
std::uint64_t after_reserved(std::uint64_t block);
/// The start of the first reserved room at or behind `block`.
std::uint64_t next_reserved(std::uint64_t block);

inline std::uint64_t group_count(std::uint64_t blocks) {
  return (blocks + kBlocksPerGroup - 1) / kBlocksPerGroup;
}
inline std::uint64_t descriptor_blocks(std::uint64_t groups) {
  return (groups + kDescriptorsPerBlock - 1) / kDescriptorsPerBlock;
}

}  // namespace nanobox::ext4
