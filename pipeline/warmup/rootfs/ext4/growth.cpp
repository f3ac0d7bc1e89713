#include "pipeline/warmup/rootfs/ext4/growth.hpp"

#include <ext2fs/ext2_fs.h>
#include <ext2fs/ext2fs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "pipeline/warmup/rootfs/ext4/bitmap.hpp"

namespace nanobox::ext4 {

namespace {

constexpr const char* kAttempted = "grow root file system";
constexpr std::size_t kSuperblockAt = 1024;
constexpr std::uint64_t kLeastLastGroup = 2048;
constexpr std::uint64_t kMebibyte = 1U << 20;
constexpr std::uint32_t kCompat = EXT2_FEATURE_COMPAT_EXT_ATTR | EXT2_FEATURE_COMPAT_DIR_INDEX;
constexpr std::uint32_t kIncompat =
    EXT2_FEATURE_INCOMPAT_FILETYPE | EXT3_FEATURE_INCOMPAT_EXTENTS | EXT4_FEATURE_INCOMPAT_FLEX_BG;

Error no_image(std::string reason) {
  return {.code = ErrorCode::invalid_value,
          .attempted = kAttempted,
          .subject = "",
          .reason = std::move(reason),
          .mend = "warm the template up again"};
}

Result<void> read_at(int image, std::uint64_t position, std::span<std::byte> bytes) {
  while (!bytes.empty()) {
    const auto got = ::pread(image, bytes.data(), bytes.size(), static_cast<off_t>(position));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail(errno_error(errno, kAttempted, ""));
    if (got == 0) return fail(no_image("the image is cut short"));
    bytes = bytes.subspan(static_cast<std::size_t>(got));
    position += static_cast<std::uint64_t>(got);
  }
  return {};
}

struct Run {
  std::uint64_t start, count;
};

/// Hands out whole runs of the new blocks, leaving out where superblock copies belong.
class NewBlocks {
public:
  NewBlocks(std::uint64_t first, std::uint64_t end) : next_(first), end_(end) {}
  void start_at(std::uint64_t block) { next_ = std::max(next_, block); }
  std::optional<Run> take(std::uint64_t count) {
    next_ = after_reserved(next_);
    if (next_reserved(next_) - next_ < count) next_ = after_reserved(next_reserved(next_));
    if (next_ + count > end_) return std::nullopt;
    const Run run{next_, count};
    next_ += count;
    taken.push_back(run);
    return run;
  }
  std::vector<Run> taken;

private:
  std::uint64_t next_, end_;
};

class Grower {
public:
  explicit Grower(int image) : image_(image) {}

  Result<Growth> run(std::uint64_t size_bytes) {
    NANOBOX_TRY(read_superblock());
    growth_.old_size_bytes = old_blocks_ * kBlockBytes;
    auto blocks = size_bytes / kBlockBytes;
    if (blocks < old_blocks_) {
      const auto least = (growth_.old_size_bytes + kMebibyte - 1) / kMebibyte;
      return fail({.code = ErrorCode::image_too_small,
                   .attempted = kAttempted,
                   .subject = "",
                   .reason = "the root takes " + std::to_string(least) + " MiB, the disk would have " +
                             std::to_string(size_bytes / kMebibyte),
                   .mend = "ask for a disk_mb of at least " + std::to_string(least)});
    }
    if (blocks > kMostBlocks)
      return fail({.code = ErrorCode::invalid_value,
                   .attempted = kAttempted,
                   .subject = "",
                   .reason = "a disk has at most 1 TiB",
                   .mend = ""});
    NANOBOX_TRY(read_descriptors());
    for (;;) {
      if (const auto rest = blocks % kBlocksPerGroup; rest != 0 && rest < kLeastLastGroup)
        blocks = std::max(blocks - rest, old_blocks_);
      if (blocks == old_blocks_) return std::move(growth_);
      new_blocks_ = blocks;
      groups_ = group_count(blocks);
      if (place_new_groups()) break;
      blocks = std::max((groups_ - 1) * kBlocksPerGroup, old_blocks_);  // the last group cannot hold its own tables
    }
    NANOBOX_TRY(change_old_groups());
    make_new_groups();
    write_heads();
    return std::move(growth_);
  }

private:
  Result<void> read_superblock() {
    NANOBOX_TRY(read_at(image_, kSuperblockAt, std::as_writable_bytes(std::span(&super_, 1))));
    if (super_.s_magic != EXT2_SUPER_MAGIC || super_.s_log_block_size != 2 || super_.s_inode_size != kInodeBytes ||
        super_.s_blocks_per_group != kBlocksPerGroup || super_.s_feature_compat != kCompat ||
        super_.s_feature_incompat != kIncompat || super_.s_inodes_per_group == 0 ||
        super_.s_inodes_per_group > kMostInodesPerGroup || super_.s_inodes_per_group % kInodesPerBlock != 0)
      return fail(no_image("it is no root built by NanoBox"));
    if (super_.s_mnt_count != 0 || super_.s_state != EXT2_VALID_FS) return fail(no_image("it has been mounted"));
    old_blocks_ = super_.s_blocks_count;
    old_groups_ = group_count(old_blocks_);
    if (old_blocks_ == 0 || old_blocks_ > kMostBlocks) return fail(no_image("its size is invalid"));
    return {};
  }

  Result<void> read_descriptors() {
    descriptors_.resize(kDescriptorRoom * std::size_t{kDescriptorsPerBlock});
    return read_at(image_, kBlockBytes,
                   std::as_writable_bytes(std::span(descriptors_)).first(descriptor_blocks(old_groups_) * kBlockBytes));
  }

  /// False where they do not fit into the new blocks.
  bool place_new_groups() {
    NewBlocks blocks(old_groups_ * kBlocksPerGroup, new_blocks_);
    const auto table_blocks = super_.s_inodes_per_group / kInodesPerBlock;
    constexpr std::uint64_t kFlex = 1U << kLogGroupsPerFlex;
    for (auto first = old_groups_; first < groups_;) {
      const auto last = std::min((first / kFlex + 1) * kFlex, groups_);
      blocks.start_at(first * kBlocksPerGroup);
      const auto bitmaps = blocks.take(2 * (last - first));
      if (!bitmaps) return false;
      for (auto group = first; group < last; ++group) {
        const auto table = blocks.take(table_blocks);
        if (!table) return false;
        auto& descriptor = descriptors_[group];
        descriptor = {};
        descriptor.bg_block_bitmap = static_cast<std::uint32_t>(bitmaps->start + (group - first));
        descriptor.bg_inode_bitmap = static_cast<std::uint32_t>(bitmaps->start + (last - first) + (group - first));
        descriptor.bg_inode_table = static_cast<std::uint32_t>(table->start);
      }
      first = last;
    }
    taken_ = std::move(blocks.taken);
    return true;
  }

  /// More descriptors behind each superblock, and the blocks behind the old end.
  Result<void> change_old_groups() {
    const auto old_descriptors = descriptor_blocks(old_groups_), descriptors = descriptor_blocks(groups_);
    for (std::uint64_t group = 0; group < old_groups_; ++group) {
      const bool more_descriptors = has_superblock(group) && descriptors != old_descriptors;
      const bool longer = group == old_groups_ - 1 && old_blocks_ % kBlocksPerGroup != 0;
      if (!more_descriptors && !longer) continue;
      auto& descriptor = descriptors_[group];
      Bitmap bitmap(kBlocksPerGroup);
      NANOBOX_TRY(read_at(image_, std::uint64_t{descriptor.bg_block_bitmap} * kBlockBytes, bitmap.writable_bytes()));
      if (more_descriptors) bitmap.set(1 + old_descriptors, descriptors - old_descriptors);
      if (longer) {
        const auto from = old_blocks_ % kBlocksPerGroup;
        const auto to = group == groups_ - 1 && new_blocks_ % kBlocksPerGroup != 0 ? new_blocks_ % kBlocksPerGroup
                                                                                   : kBlocksPerGroup;
        bitmap.clear(from, to - from);
      }
      set_free(group, bitmap);
    }
    return {};
  }

  void make_new_groups() {
    std::map<std::uint64_t, Bitmap> bitmaps;
    const auto of = [&](std::uint64_t group) -> Bitmap& {
      return bitmaps.try_emplace(group, kBlocksPerGroup).first->second;
    };
    for (auto run : taken_) {
      while (run.count != 0) {
        const auto in_group = run.start % kBlocksPerGroup;
        const auto count = std::min(run.count, kBlocksPerGroup - in_group);
        of(run.start / kBlocksPerGroup).set(in_group, count);
        run = {run.start + count, run.count - count};
      }
    }
    Bitmap inodes(kBlocksPerGroup);
    inodes.set(super_.s_inodes_per_group, kBlocksPerGroup - super_.s_inodes_per_group);
    const auto no_inodes = as_block(inodes);
    for (auto group = old_groups_; group < groups_; ++group) {
      auto& descriptor = descriptors_[group];
      if (has_superblock(group)) of(group).set(0, 1 + descriptor_blocks(groups_));
      if (const auto rest = new_blocks_ % kBlocksPerGroup; group == groups_ - 1 && rest != 0)
        of(group).set(rest, kBlocksPerGroup - rest);
      descriptor.bg_free_inodes_count = static_cast<std::uint16_t>(super_.s_inodes_per_group);
      descriptor.bg_free_blocks_count = static_cast<std::uint16_t>(kBlocksPerGroup);
      if (const auto found = bitmaps.find(group); found != bitmaps.end()) set_free(group, found->second);
      if (super_.s_inodes_per_group != kBlocksPerGroup) growth_.blocks[descriptor.bg_inode_bitmap] = no_inodes;
    }
  }

  void set_free(std::uint64_t group, const Bitmap& bitmap) {
    auto& descriptor = descriptors_[group];
    growth_.blocks[descriptor.bg_block_bitmap] = as_block(bitmap);
    descriptor.bg_free_blocks_count = static_cast<std::uint16_t>(kBlocksPerGroup - bitmap.count(0, kBlocksPerGroup));
  }

  static std::shared_ptr<const BlockBytes> as_block(const Bitmap& bitmap) {
    auto block = std::make_shared<BlockBytes>();
    std::ranges::copy(bitmap.bytes(0, kBlocksPerGroup), block->begin());
    return block;
  }

  void write_heads() {
    std::uint64_t free_blocks = 0;
    for (std::uint64_t group = 0; group < groups_; ++group) free_blocks += descriptors_[group].bg_free_blocks_count;
    super_.s_blocks_count = static_cast<std::uint32_t>(new_blocks_);
    super_.s_free_blocks_count = static_cast<std::uint32_t>(free_blocks);
    super_.s_inodes_count = static_cast<std::uint32_t>(groups_ * super_.s_inodes_per_group);
    super_.s_free_inodes_count += static_cast<std::uint32_t>((groups_ - old_groups_) * super_.s_inodes_per_group);

    std::vector<std::shared_ptr<const BlockBytes>> descriptor_blocks_;
    const auto bytes = std::as_bytes(std::span(descriptors_));
    for (std::uint64_t at = 0; at < descriptor_blocks(groups_); ++at) {
      auto block = std::make_shared<BlockBytes>();
      std::ranges::copy(bytes.subspan(at * kBlockBytes, kBlockBytes), block->begin());
      descriptor_blocks_.push_back(std::move(block));
    }
    for (std::uint64_t group = 0; group < groups_; ++group) {
      if (!has_superblock(group)) continue;
      auto head = std::make_shared<BlockBytes>();
      head->fill(std::byte{0});
      super_.s_block_group_nr = static_cast<std::uint16_t>(group);
      std::memcpy(head->data() + (group == 0 ? kSuperblockAt : 0), &super_, sizeof super_);
      const auto start = group * kBlocksPerGroup;
      growth_.blocks[start] = std::move(head);
      for (std::uint64_t at = 0; at < descriptor_blocks_.size(); ++at)
        growth_.blocks[start + 1 + at] = descriptor_blocks_[at];
    }
  }

  int image_;
  ext2_super_block super_{};
  std::vector<ext2_group_desc> descriptors_;
  std::uint64_t old_blocks_ = 0, old_groups_ = 0, new_blocks_ = 0, groups_ = 0;
  std::vector<Run> taken_;
  Growth growth_;
};

}  // namespace

Result<Growth> plan_growth(int image, std::uint64_t size_bytes) {
  return Grower(image).run(size_bytes);
}

}  // namespace nanobox::ext4
