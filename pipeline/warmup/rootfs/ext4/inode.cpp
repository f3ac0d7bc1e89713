#include "pipeline/warmup/rootfs/ext4/inode.hpp"

#include <ext2fs/ext2_fs.h>
#include <ext2fs/ext2fs.h>
#include <ext2fs/ext3_extents.h>

#include <algorithm>
#include <cstring>

#include "pipeline/warmup/rootfs/ext4/xattr.hpp"

namespace nanobox::ext4 {

namespace {

constexpr std::size_t kRootExtents = 4;
constexpr std::size_t kBlockExtents = (kBlockBytes - sizeof(ext3_extent_header)) / sizeof(ext3_extent);
constexpr std::uint16_t kExtraBytes = 32;
constexpr std::int64_t kEarliest = -(std::int64_t{1} << 31), kLatest = 0x37FFFFFFF;
constexpr std::uint32_t kMostFolderLinks = 65'000;

struct Child {
  std::uint32_t logical;
  std::uint64_t block;
};

void write_header(std::byte* at, std::size_t entries, std::size_t most, std::size_t depth) {
  ext3_extent_header header{};
  header.eh_magic = EXT3_EXT_MAGIC;
  header.eh_entries = static_cast<std::uint16_t>(entries);
  header.eh_max = static_cast<std::uint16_t>(most);
  header.eh_depth = static_cast<std::uint16_t>(depth);
  std::memcpy(at, &header, sizeof header);
}

void write_leaf(std::byte* at, std::span<const Extent> extents, std::size_t most) {
  write_header(at, extents.size(), most, 0);
  for (std::size_t i = 0; i < extents.size(); ++i) {
    ext3_extent extent{};
    extent.ee_block = extents[i].logical;
    extent.ee_len = static_cast<std::uint16_t>(extents[i].count);
    extent.ee_start = static_cast<std::uint32_t>(extents[i].physical);
    extent.ee_start_hi = static_cast<std::uint16_t>(extents[i].physical >> 32);
    std::memcpy(at + sizeof(ext3_extent_header) + i * sizeof extent, &extent, sizeof extent);
  }
}

void write_node(std::byte* at, std::span<const Child> children, std::size_t most, std::size_t depth) {
  write_header(at, children.size(), most, depth);
  for (std::size_t i = 0; i < children.size(); ++i) {
    ext3_extent_idx index{};
    index.ei_block = children[i].logical;
    index.ei_leaf = static_cast<std::uint32_t>(children[i].block);
    index.ei_leaf_hi = static_cast<std::uint16_t>(children[i].block >> 32);
    std::memcpy(at + sizeof(ext3_extent_header) + i * sizeof index, &index, sizeof index);
  }
}

}  // namespace

Result<ExtentTree> encode_extents(std::span<const Extent> extents, const BlockSink& sink) {
  ExtentTree tree;
  if (extents.size() <= kRootExtents) {
    write_leaf(tree.root.data(), extents, kRootExtents);
    return tree;
  }
  std::array<std::byte, kBlockBytes> block;
  std::vector<Child> level;
  for (std::size_t at = 0; at < extents.size(); at += kBlockExtents) {
    const auto part = extents.subspan(at, std::min(kBlockExtents, extents.size() - at));
    block.fill(std::byte{0});
    write_leaf(block.data(), part, kBlockExtents);
    level.push_back({part.front().logical, NANOBOX_TRY(sink(block))});
    ++tree.extra_blocks;
  }
  std::size_t depth = 1;
  for (; level.size() > kRootExtents; ++depth) {
    std::vector<Child> above;
    for (std::size_t at = 0; at < level.size(); at += kBlockExtents) {
      const auto part = std::span<const Child>(level).subspan(at, std::min(kBlockExtents, level.size() - at));
      block.fill(std::byte{0});
      write_node(block.data(), part, kBlockExtents, depth);
      above.push_back({part.front().logical, NANOBOX_TRY(sink(block))});
      ++tree.extra_blocks;
    }
    level = std::move(above);
  }
  write_node(tree.root.data(), level, kRootExtents, depth);
  return tree;
}

InlineData encode_device(std::uint32_t major, std::uint32_t minor) {
  InlineData data{};
  const bool old_fits = major < 256 && minor < 256;
  const std::uint32_t number = old_fits ? major << 8 | minor : (minor & 0xFF) | major << 8 | (minor & ~0xFFU) << 12;
  std::memcpy(data.data() + (old_fits ? 0 : sizeof number), &number, sizeof number);
  return data;
}

InlineData encode_short_symlink(std::string_view target) {
  InlineData data{};
  std::memcpy(data.data(), target.data(), target.size());
  return data;
}

void encode_inode(const InodeFields& fields, std::span<std::byte, kInodeBytes> out) {
  ext2_inode_large inode{};
  const auto time = std::clamp(fields.mtime, kEarliest, kLatest);
  const auto low = static_cast<std::uint32_t>(time);
  const auto epoch = static_cast<std::uint32_t>((time - static_cast<std::int32_t>(low)) >> 32) & 3;
  const auto nsec = time == fields.mtime ? fields.mtime_nsec : 0;
  const auto extra = epoch | nsec << 2;
  const bool folder = (fields.mode & LINUX_S_IFMT) == LINUX_S_IFDIR;

  inode.i_mode = fields.mode;
  inode.i_uid = static_cast<std::uint16_t>(fields.uid);
  inode.osd2.linux2.l_i_uid_high = static_cast<std::uint16_t>(fields.uid >> 16);
  inode.i_gid = static_cast<std::uint16_t>(fields.gid);
  inode.osd2.linux2.l_i_gid_high = static_cast<std::uint16_t>(fields.gid >> 16);
  inode.i_size = static_cast<std::uint32_t>(fields.size_bytes);
  inode.i_size_high = static_cast<std::uint32_t>(fields.size_bytes >> 32);
  inode.i_atime = inode.i_ctime = inode.i_mtime = inode.i_crtime = low;
  inode.i_atime_extra = inode.i_ctime_extra = inode.i_mtime_extra = inode.i_crtime_extra = extra;
  inode.i_links_count = static_cast<std::uint16_t>(folder && fields.links > kMostFolderLinks ? 1 : fields.links);
  const auto sectors = fields.blocks * (kBlockBytes / 512);
  inode.i_blocks = static_cast<std::uint32_t>(sectors);
  inode.osd2.linux2.l_i_blocks_hi = static_cast<std::uint16_t>(sectors >> 32);
  inode.i_flags = (fields.uses_extents ? EXT4_EXTENTS_FL : 0) | (fields.hashed_folder ? EXT2_INDEX_FL : 0);
  inode.i_file_acl = static_cast<std::uint32_t>(fields.xattr_block);
  inode.osd2.linux2.l_i_file_acl_high = static_cast<std::uint16_t>(fields.xattr_block >> 32);
  inode.i_extra_isize = kExtraBytes;
  std::memcpy(inode.i_block, fields.inline_data.data(), kInlineBytes);

  static_assert(sizeof inode == kInodeBytes - kInlineXattrBytes);
  std::fill(out.begin(), out.end(), std::byte{0});
  std::memcpy(out.data(), &inode, sizeof inode);
  if (!fields.inline_xattrs.empty()) encode_inline_xattrs(fields.inline_xattrs, out.last<kInlineXattrBytes>());
}

}  // namespace nanobox::ext4
