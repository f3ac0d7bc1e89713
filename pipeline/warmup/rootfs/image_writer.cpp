#include "pipeline/warmup/rootfs/image_writer.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <string>
#include <unordered_map>

#include "pipeline/warmup/rootfs/ext4/directory.hpp"
#include "pipeline/warmup/rootfs/ext4/frame.hpp"
#include "pipeline/warmup/rootfs/ext4/geometry.hpp"
#include "pipeline/warmup/rootfs/ext4/inode.hpp"
#include "pipeline/warmup/rootfs/ext4/xattr.hpp"

namespace nanobox {

namespace {

constexpr std::uint64_t kBlock = ext4::kBlockBytes;
constexpr std::uint32_t kMostLinks = 65'000;
constexpr std::uint64_t kLeastFreeBlocks = (64U << 20) / kBlock;
constexpr std::uint64_t kSizeStepBlocks =
    (8U << 20) / kBlock;                         // so that a last group always has room for its own blocks
constexpr std::uint32_t kInodesPerGroup = 8192;  // one for each 16 KiB
constexpr std::size_t kBufferBytes = 1U << 20;
constexpr std::string_view kLostFound = "lost+found";

mode_t type_bits(EntryType type) {
  switch (type) {
    case EntryType::file:
    case EntryType::hard_link:
      return S_IFREG;
    case EntryType::folder:
    case EntryType::missing_folder:
      return S_IFDIR;
    case EntryType::symlink:
      return S_IFLNK;
    case EntryType::char_device:
      return S_IFCHR;
    case EntryType::block_device:
      return S_IFBLK;
    case EntryType::fifo:
      return S_IFIFO;
    case EntryType::whiteout:
    case EntryType::opaque:
      break;
  }
  return 0;
}

ext4::FileKind kind_of(const TreeNode& node) {
  if (node.is_folder()) return ext4::FileKind::folder;
  switch (node.entry->type) {
    case EntryType::symlink:
      return ext4::FileKind::symlink;
    case EntryType::char_device:
      return ext4::FileKind::char_device;
    case EntryType::block_device:
      return ext4::FileKind::block_device;
    case EntryType::fifo:
      return ext4::FileKind::fifo;
    default:
      return ext4::FileKind::file;
  }
}

/// Collects whole blocks and writes them in large pieces, at ascending places of the area.
class BlockWriter {
public:
  BlockWriter(int image, DataArea& area) : image_(image), area_(area) { buffer_.reserve(kBufferBytes); }

  /// The extents that `bytes`, whole blocks, were given.
  Result<std::vector<Extent>> append(std::span<const std::byte> bytes) {
    std::vector<Extent> extents;
    std::uint32_t logical = 0;
    while (!bytes.empty()) {
      const auto run = area_.take(bytes.size() / kBlock);
      const auto size = run.count * kBlock;
      if (run.start * kBlock != start_ + buffer_.size() || buffer_.size() >= kBufferBytes) {
        NANOBOX_TRY(flush());
        start_ = run.start * kBlock;
      }
      buffer_.insert(buffer_.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
      used.push_back({run.start, run.count});
      extents.push_back({logical, static_cast<std::uint32_t>(run.count), run.start});
      logical += static_cast<std::uint32_t>(run.count);
      bytes = bytes.subspan(size);
    }
    return extents;
  }
  Result<void> flush() {
    NANOBOX_TRY(write_at(image_, start_, buffer_));
    start_ += buffer_.size();
    buffer_.clear();
    return {};
  }

  std::vector<ext4::UsedRun> used;

private:
  int image_;
  DataArea& area_;
  std::vector<std::byte> buffer_;
  std::uint64_t start_ = 0;
};

class Writer {
public:
  Writer(const StageContext& context, int image, DataArea& area, const MergedTree& tree,
         const std::array<std::uint8_t, 32>& id)
      : context_(context), image_(image), area_(area), tree_(tree), blocks_(image, area), placed_(tree.nodes().size()) {
    std::copy_n(id.begin(), frame_.uuid.size(), frame_.uuid.begin());
    frame_.uuid[6] = static_cast<std::uint8_t>((frame_.uuid[6] & 0x0F) | 0x40);
    frame_.uuid[8] = static_cast<std::uint8_t>((frame_.uuid[8] & 0x3F) | 0x80);
    std::memcpy(frame_.hash_seed.data(), id.data() + frame_.uuid.size(), sizeof frame_.hash_seed);
    frame_.made_at = std::time(nullptr);
  }

  Result<ImageUsage> run() {
    number();
    NANOBOX_TRY(punch_hidden());
    NANOBOX_TRY(place_metadata());
    place_groups();
    if (frame_.blocks > ext4::kMostBlocks)
      return fail({.code = ErrorCode::layer_too_large,
                   .attempted = "build root file system",
                   .subject = "",
                   .reason = "it would need more than 1 TiB",
                   .mend = ""});
    if (::ftruncate(image_, static_cast<off_t>(frame_.blocks * kBlock)) != 0)
      return fail(errno_error(errno, "size image", ""));
    NANOBOX_TRY(write_inodes());
    const auto used = NANOBOX_TRY(ext4::write_frame(image_, frame_));
    return ImageUsage{.size_bytes = frame_.blocks * kBlock, .used_bytes = used * kBlock, .entries = order_.size()};
  }

private:
  /// What a node got beside the data of its file.
  struct Placed {
    std::uint32_t inode = 0;
    std::uint32_t first_block = 0;  ///< of a folder or a long symlink in one extent
    std::uint32_t block_count = 0;
    std::uint32_t xattr_block = 0;
    std::uint32_t extra_blocks = 0;  ///< extent leaves
  };

  const TreeNode& node(std::uint32_t index) const { return tree_.nodes()[index]; }

  template <class Visit>
  void for_children(std::uint32_t folder, Visit visit) const {
    for (auto at = node(folder).first_name; at != kNoNode; at = tree_.names()[at].next) {
      if (const auto& name = tree_.names()[at]; name.node != kNoNode) visit(name);
    }
  }

  void assign(std::uint32_t index) {
    if (placed_[index].inode != 0) return;
    placed_[index].inode = next_inode_++;
    order_.push_back(index);
  }

  /// Breadth first, so that what is looked up together lies together; lost+found first, as e2fsck likes it.
  void number() {
    placed_[MergedTree::kRoot].inode = ext4::kRootInode;
    order_.push_back(MergedTree::kRoot);
    if (const auto name = tree_.find(MergedTree::kRoot, kLostFound); name != kNoNode) assign(tree_.names()[name].node);
    for (std::size_t at = 0; at < order_.size(); ++at) {
      if (node(order_[at]).is_folder()) for_children(order_[at], [&](const TreeName& name) { assign(name.node); });
    }
    frame_.last_inode = next_inode_ - 1;
  }

  Result<void> punch(std::uint64_t from, std::uint64_t to) const {
    if (from >= to) return {};
    const auto start = static_cast<off_t>(from * kBlock), size = static_cast<off_t>((to - from) * kBlock);
    if (::fallocate(image_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, start, size) == 0) return {};
    if (errno != EOPNOTSUPP && errno != ENOSYS) return fail(errno_error(errno, "punch out hidden data", ""));
    const std::vector<std::byte> zeros(kBufferBytes);
    for (auto at = static_cast<std::uint64_t>(start), end = at + static_cast<std::uint64_t>(size); at < end;
         at += zeros.size())
      NANOBOX_TRY(write_at(image_, at, std::span(zeros).first(std::min<std::uint64_t>(zeros.size(), end - at))));
    return {};
  }

  /// Must come before anything else is placed: an inode table over old bytes would be full of garbage.
  Result<void> punch_hidden() {
    const auto data_end = area_.end();
    std::vector<ext4::UsedRun> live;
    for (const auto index : order_) {
      if (node(index).is_folder()) continue;
      for (const auto& extent : node(index).entry->extents) live.push_back({extent.physical, extent.count});
    }
    std::sort(live.begin(), live.end(), [](const auto& left, const auto& right) { return left.start < right.start; });
    std::uint64_t at = ext4::kFirstFreeBlock;
    for (const auto& run : live) {
      NANOBOX_TRY(punch(at, run.start));
      at = run.start + run.count;
      if (!frame_.used.empty() && frame_.used.back().start + frame_.used.back().count == run.start)
        frame_.used.back().count += run.count;
      else
        frame_.used.push_back(run);
    }
    return punch(at, data_end);
  }

  Result<void> place_metadata() {
    std::vector<ext4::FolderEntry> children;
    std::vector<std::byte> block(kBlock);
    const ext4::BlockSink sink = [this](std::span<const std::byte, ext4::kBlockBytes> bytes) -> Result<std::uint64_t> {
      const auto extents = NANOBOX_TRY(blocks_.append(bytes));
      return extents.front().physical;
    };
    for (const auto index : order_) {
      const auto& one = node(index);
      auto& placed = placed_[index];
      if ((placed.inode & 0xFFF) == 0) NANOBOX_TRY(context_.check("build root file system"));
      if (one.is_folder()) {
        children.clear();
        for_children(index, [&](const TreeName& name) {
          if (node(name.node).is_folder()) ++folder_links_[index];
          children.push_back({name.text, placed_[name.node].inode, kind_of(node(name.node))});
        });
        const auto folder = ext4::encode_folder(placed.inode, placed_[one.parent].inode, children, frame_.hash_seed);
        if (folder.hashed) hashed_folders_.emplace(index, true);
        NANOBOX_TRY(keep_extents(index, NANOBOX_TRY(blocks_.append(folder.bytes)), sink));
      } else if (one.entry->type == EntryType::symlink && !ext4::is_short_symlink(one.entry->link)) {
        std::fill(block.begin(), block.end(), std::byte{0});
        std::memcpy(block.data(), one.entry->link.data(), one.entry->link.size());
        NANOBOX_TRY(keep_extents(index, NANOBOX_TRY(blocks_.append(block)), sink));
      } else if (one.entry->extents.size() > kSimpleExtents) {
        NANOBOX_TRY(keep_tree(index, one.entry->extents, sink));
      }
      if (one.entry && !one.entry->xattrs.empty() && !ext4::xattrs_fit_inode(one.entry->xattrs)) {
        ext4::encode_xattr_block(one.entry->xattrs, std::span<std::byte, ext4::kBlockBytes>(block));
        placed.xattr_block =
            static_cast<std::uint32_t>(NANOBOX_TRY(sink(std::span<const std::byte, ext4::kBlockBytes>(block))));
      }
    }
    NANOBOX_TRY(blocks_.flush());
    frame_.used.insert(frame_.used.end(), blocks_.used.begin(), blocks_.used.end());
    return {};
  }

  Result<void> keep_extents(std::uint32_t index, const std::vector<Extent>& extents, const ext4::BlockSink& sink) {
    auto& placed = placed_[index];
    for (const auto& extent : extents) placed.block_count += extent.count;
    if (extents.size() == 1) {
      placed.first_block = static_cast<std::uint32_t>(extents.front().physical);
      return {};
    }
    return keep_tree(index, extents, sink);
  }

  Result<void> keep_tree(std::uint32_t index, std::span<const Extent> extents, const ext4::BlockSink& sink) {
    const auto tree = NANOBOX_TRY(ext4::encode_extents(extents, sink));
    placed_[index].extra_blocks = tree.extra_blocks;
    roots_.emplace(index, tree.root);
    return {};
  }

  /// Sizes the file system and finds places for bitmaps and inode tables behind all else.
  void place_groups() {
    const auto content_end = area_.end();
    const auto headroom = std::max(kLeastFreeBlocks, content_end / 10);
    const std::uint64_t inodes = frame_.last_inode + frame_.last_inode / 8 + 1024;
    std::uint64_t groups = std::max(ext4::group_count(content_end + headroom),
                                    (inodes + ext4::kMostInodesPerGroup - 1) / ext4::kMostInodesPerGroup);
    std::uint64_t end = 0;
    for (;; ++groups) {
      const auto wanted = std::max<std::uint64_t>(kInodesPerGroup, (inodes + groups - 1) / groups);
      frame_.inodes_per_group = static_cast<std::uint32_t>((wanted + ext4::kInodesPerBlock - 1) /
                                                           ext4::kInodesPerBlock * ext4::kInodesPerBlock);
      const auto own = groups * (2 + frame_.inodes_per_group / ext4::kInodesPerBlock + 2 * ext4::kFirstFreeBlock);
      end = (content_end + own + headroom + kSizeStepBlocks - 1) / kSizeStepBlocks * kSizeStepBlocks;
      // Many tiny files ask for more groups than their blocks do.
      end = std::max(end, (groups - 1) * ext4::kBlocksPerGroup + kSizeStepBlocks);
      if (ext4::group_count(end) == groups) break;
    }
    frame_.blocks = end;
    frame_.groups.resize(groups);
    frame_.folders.assign(groups, 0);
    constexpr std::uint64_t kFlex = 1U << ext4::kLogGroupsPerFlex;
    for (std::uint64_t first = 0; first < groups; first += kFlex) {
      const auto last = std::min(first + kFlex, groups);
      const auto bitmaps = area_.take_whole(2 * (last - first));
      for (auto group = first; group < last; ++group) {
        frame_.groups[group].block_bitmap = bitmaps.start + (group - first);
        frame_.groups[group].inode_bitmap = bitmaps.start + (last - first) + (group - first);
      }
      for (auto group = first; group < last; ++group)
        frame_.groups[group].inode_table = area_.take_whole(frame_.inodes_per_group / ext4::kInodesPerBlock).start;
    }
  }

  Result<ext4::InodeFields> fields_of(std::uint32_t index) {
    static const LayerEntry kImplied{.mode = 0755, .type = EntryType::folder};
    const auto& one = node(index);
    const auto& entry = one.entry ? *one.entry : kImplied;
    const auto& placed = placed_[index];
    ext4::InodeFields fields;
    fields.mode = static_cast<std::uint16_t>(type_bits(one.is_folder() ? EntryType::folder : entry.type) | entry.mode);
    fields.uid = entry.uid;
    fields.gid = entry.gid;
    fields.mtime = entry.mtime;
    fields.mtime_nsec = entry.mtime_nsec;
    fields.links = one.links;
    fields.xattr_block = placed.xattr_block;
    if (placed.xattr_block == 0) fields.inline_xattrs = entry.xattrs;
    fields.blocks = placed.block_count + placed.extra_blocks + (placed.xattr_block != 0 ? 1 : 0);
    if (const auto root = roots_.find(index); root != roots_.end()) fields.inline_data = root->second;

    if (one.is_folder()) {
      const auto folders = folder_links_.find(index);
      fields.links = 2 + (folders == folder_links_.end() ? 0 : folders->second);
      fields.size_bytes = placed.block_count * kBlock;
      fields.hashed_folder = hashed_folders_.contains(index);
      fields.uses_extents = true;
    } else if (one.links > kMostLinks) {
      return fail({.code = ErrorCode::layer_unsupported,
                   .attempted = "build root file system",
                   .subject = std::string(entry.path),
                   .reason = "it has more than 65000 hard links",
                   .mend = ""});
    } else if (entry.type == EntryType::symlink) {
      fields.size_bytes = entry.link.size();
      fields.uses_extents = !ext4::is_short_symlink(entry.link);
      if (!fields.uses_extents) fields.inline_data = ext4::encode_short_symlink(entry.link);
    } else if (entry.type == EntryType::char_device || entry.type == EntryType::block_device) {
      fields.inline_data = ext4::encode_device(entry.device_major, entry.device_minor);
    } else if (entry.type == EntryType::file) {
      fields.size_bytes = entry.size_bytes;
      fields.uses_extents = true;
      for (const auto& extent : entry.extents) fields.blocks += extent.count;
    }
    if (fields.uses_extents && !roots_.contains(index)) {
      const Extent single{0, placed.block_count, placed.first_block};
      const auto extents = one.is_folder() || entry.type == EntryType::symlink ? std::span(&single, 1) : entry.extents;
      fields.inline_data = NANOBOX_TRY(ext4::encode_extents(extents, {})).root;
    }
    return fields;
  }

  Result<void> write_inodes() {
    std::vector<std::byte> buffer;
    buffer.reserve(kBufferBytes);
    std::uint64_t start = 0;  // where `buffer` belongs
    for (const auto index : order_) {
      const auto inode = placed_[index].inode;
      const auto group = (inode - 1) / frame_.inodes_per_group;
      const auto position = frame_.groups[group].inode_table * kBlock +
                            (inode - 1) % frame_.inodes_per_group * std::uint64_t{ext4::kInodeBytes};
      if (position != start + buffer.size() || buffer.size() >= kBufferBytes) {
        NANOBOX_TRY(write_at(image_, start, buffer));
        NANOBOX_TRY(context_.check("build root file system"));
        buffer.clear();
        start = position;
      }
      buffer.resize(buffer.size() + ext4::kInodeBytes);
      ext4::encode_inode(NANOBOX_TRY(fields_of(index)), std::span(buffer).last<ext4::kInodeBytes>());
      if (node(index).is_folder()) ++frame_.folders[group];
    }
    return write_at(image_, start, buffer);
  }

  static constexpr std::size_t kSimpleExtents = 4;

  const StageContext& context_;
  int image_;
  DataArea& area_;
  const MergedTree& tree_;
  BlockWriter blocks_;
  std::vector<Placed> placed_;        ///< by node
  std::vector<std::uint32_t> order_;  ///< nodes by inode
  std::uint32_t next_inode_ = ext4::kFirstInode;
  std::unordered_map<std::uint32_t, ext4::InlineData> roots_;  ///< of nodes whose extents do not lie in one run
  std::unordered_map<std::uint32_t, std::uint32_t> folder_links_;
  std::unordered_map<std::uint32_t, bool> hashed_folders_;
  ext4::Frame frame_;
};

}  // namespace

Result<ImageUsage> write_image(const StageContext& context, int image, DataArea& area, const MergedTree& tree,
                               const std::array<std::uint8_t, 32>& id) {
  return Writer(context, image, area, tree, id).run();
}

}  // namespace nanobox
