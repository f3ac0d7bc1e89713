#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "config/error.hpp"
#include "pipeline/warmup/rootfs/ext4/geometry.hpp"
#include "pipeline/warmup/rootfs/layer_index.hpp"

namespace nanobox::ext4 {

inline constexpr std::size_t kInlineBytes = 60;  ///< i_block: an extent root, a short symlink, a device number
using InlineData = std::array<std::byte, kInlineBytes>;

struct ExtentTree {
  InlineData root{};
  std::uint32_t extra_blocks = 0;  ///< taken for leaves and inner nodes
};

/// Takes a block of metadata and tells its number.
using BlockSink = std::function<Result<std::uint64_t>(std::span<const std::byte, kBlockBytes>)>;

/// Up to four extents lie in the inode, more in blocks given to `sink`. `extents` ascend.
Result<ExtentTree> encode_extents(std::span<const Extent> extents, const BlockSink& sink);
InlineData encode_device(std::uint32_t major, std::uint32_t minor);
InlineData encode_short_symlink(std::string_view target);
inline bool is_short_symlink(std::string_view target) {
  return target.size() < kInlineBytes;
}

struct InodeFields {
  std::uint16_t mode = 0;  ///< with the type's bits
  std::uint32_t uid = 0, gid = 0;
  std::uint32_t links = 0;
  std::uint64_t size_bytes = 0;
  std::uint64_t blocks = 0;  ///< of 4 KiB, metadata blocks of the inode included
  std::int64_t mtime = 0;
  std::uint32_t mtime_nsec = 0;
  bool uses_extents = false, hashed_folder = false;
  std::uint64_t xattr_block = 0;
  std::span<const Xattr> inline_xattrs;
  InlineData inline_data{};
};

void encode_inode(const InodeFields& fields, std::span<std::byte, kInodeBytes> out);

}  // namespace nanobox::ext4
