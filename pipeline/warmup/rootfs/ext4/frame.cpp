#include "pipeline/warmup/rootfs/ext4/frame.hpp"

#include <ext2fs/ext2_fs.h>
#include <ext2fs/ext2fs.h>

#include <algorithm>
#include <cstring>

#include "pipeline/warmup/rootfs/data_area.hpp"
#include "pipeline/warmup/rootfs/ext4/bitmap.hpp"

namespace nanobox::ext4 {

namespace {

constexpr std::uint64_t kSuperblockAt = 1024;
static_assert(sizeof(ext2_super_block) == 1024 && sizeof(ext2_group_desc) == kDescriptorBytes);

ext2_super_block make_superblock(const Frame& frame, std::uint64_t free_blocks, std::uint64_t free_inodes) {
  ext2_super_block super{};
  const auto time = static_cast<std::uint32_t>(frame.made_at);
  super.s_inodes_count = static_cast<std::uint32_t>(frame.groups.size() * frame.inodes_per_group);
  super.s_blocks_count = static_cast<std::uint32_t>(frame.blocks);
  super.s_free_blocks_count = static_cast<std::uint32_t>(free_blocks);
  super.s_free_inodes_count = static_cast<std::uint32_t>(free_inodes);
  super.s_log_block_size = super.s_log_cluster_size = 2;
  super.s_blocks_per_group = super.s_clusters_per_group = kBlocksPerGroup;
  super.s_inodes_per_group = frame.inodes_per_group;
  super.s_wtime = super.s_mkfs_time = super.s_lastcheck = time;
  super.s_max_mnt_count = static_cast<__s16>(EXT2_DFL_MAX_MNT_COUNT);
  super.s_magic = EXT2_SUPER_MAGIC;
  super.s_state = EXT2_VALID_FS;
  super.s_errors = EXT2_ERRORS_CONTINUE;
  super.s_rev_level = EXT2_DYNAMIC_REV;
  super.s_first_ino = kFirstInode;
  super.s_inode_size = kInodeBytes;
  super.s_feature_compat = EXT2_FEATURE_COMPAT_EXT_ATTR | EXT2_FEATURE_COMPAT_DIR_INDEX;
  super.s_feature_incompat =
      EXT2_FEATURE_INCOMPAT_FILETYPE | EXT3_FEATURE_INCOMPAT_EXTENTS | EXT4_FEATURE_INCOMPAT_FLEX_BG;
  super.s_feature_ro_compat = EXT2_FEATURE_RO_COMPAT_SPARSE_SUPER | EXT2_FEATURE_RO_COMPAT_LARGE_FILE |
                              EXT4_FEATURE_RO_COMPAT_HUGE_FILE | EXT4_FEATURE_RO_COMPAT_DIR_NLINK |
                              EXT4_FEATURE_RO_COMPAT_EXTRA_ISIZE;
  std::copy(frame.uuid.begin(), frame.uuid.end(), super.s_uuid);
  std::copy(frame.hash_seed.begin(), frame.hash_seed.end(), super.s_hash_seed);
  super.s_def_hash_version = EXT2_HASH_HALF_MD4;
  super.s_flags = EXT2_FLAGS_SIGNED_HASH;
  super.s_default_mount_opts = EXT2_DEFM_XATTR_USER | EXT2_DEFM_ACL;
  super.s_min_extra_isize = super.s_want_extra_isize = 32;
  super.s_log_groups_per_flex = kLogGroupsPerFlex;
  return super;
}

}  // namespace

Result<std::uint64_t> write_frame(int image, const Frame& frame) {
  const auto groups = frame.groups.size();
  const auto descriptor_count = descriptor_blocks(groups);
  const auto table_blocks = frame.inodes_per_group / kInodesPerBlock;

  Bitmap blocks(groups * kBlocksPerGroup);
  for (const auto& run : frame.used) blocks.set(run.start, run.count);
  for (std::size_t group = 0; group < groups; ++group) {
    const auto& place = frame.groups[group];
    blocks.set(place.block_bitmap, 1);
    blocks.set(place.inode_bitmap, 1);
    blocks.set(place.inode_table, table_blocks);
    if (has_superblock(group)) blocks.set(group * kBlocksPerGroup, 1 + descriptor_count);
  }
  const auto padding = groups * kBlocksPerGroup - frame.blocks;
  blocks.set(frame.blocks, padding);

  std::vector<ext2_group_desc> descriptors(descriptor_count * kDescriptorsPerBlock);
  std::uint64_t free_blocks = 0, free_inodes = 0;
  for (std::size_t group = 0; group < groups; ++group) {
    const auto& place = frame.groups[group];
    auto& descriptor = descriptors[group];
    Bitmap inodes(kBlocksPerGroup);
    const auto first = group * frame.inodes_per_group;
    const auto in_use =
        frame.last_inode > first ? std::min<std::uint64_t>(frame.last_inode - first, frame.inodes_per_group) : 0;
    inodes.set(0, in_use);
    inodes.set(frame.inodes_per_group, kBlocksPerGroup - frame.inodes_per_group);
    NANOBOX_TRY(
        write_at(image, place.block_bitmap * kBlockBytes, blocks.bytes(group * kBlocksPerGroup, kBlocksPerGroup)));
    NANOBOX_TRY(write_at(image, place.inode_bitmap * kBlockBytes, inodes.bytes(0, kBlocksPerGroup)));

    const auto group_free = kBlocksPerGroup - blocks.count(group * kBlocksPerGroup, kBlocksPerGroup);
    descriptor.bg_block_bitmap = static_cast<std::uint32_t>(place.block_bitmap);
    descriptor.bg_inode_bitmap = static_cast<std::uint32_t>(place.inode_bitmap);
    descriptor.bg_inode_table = static_cast<std::uint32_t>(place.inode_table);
    descriptor.bg_free_blocks_count = static_cast<std::uint16_t>(group_free);
    descriptor.bg_free_inodes_count = static_cast<std::uint16_t>(frame.inodes_per_group - in_use);
    descriptor.bg_used_dirs_count = static_cast<std::uint16_t>(frame.folders[group]);
    free_blocks += group_free;
    free_inodes += frame.inodes_per_group - in_use;
  }

  auto super = make_superblock(frame, free_blocks, free_inodes);
  const auto as_bytes = std::as_bytes(std::span(descriptors));
  for (std::size_t group = groups; group-- != 0;) {
    if (!has_superblock(group)) continue;
    const auto start = group * kBlocksPerGroup * std::uint64_t{kBlockBytes};
    NANOBOX_TRY(write_at(image, start + kBlockBytes, as_bytes));
    super.s_block_group_nr = static_cast<std::uint16_t>(group);
    NANOBOX_TRY(write_at(image, group == 0 ? kSuperblockAt : start, std::as_bytes(std::span(&super, 1))));
  }
  return frame.blocks - free_blocks;
}

}  // namespace nanobox::ext4
