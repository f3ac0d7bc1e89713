#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string_view>

#include "pipeline/warmup/rootfs/ext4/geometry.hpp"
#include "pipeline/warmup/rootfs/layer_index.hpp"

namespace nanobox::ext4 {

/// Bytes behind an inode's own fields, for extended attributes.
inline constexpr std::size_t kInlineXattrBytes = kInodeBytes - 160;

/// Whether an attribute goes into the image: user., trusted. and security., without what only the host means
/// (security.selinux, trusted.overlay.*).
bool keeps_xattr(std::string_view name);

/// Whether they fit into one block.
bool xattrs_fit(std::span<const Xattr> xattrs);
bool xattrs_fit_inode(std::span<const Xattr> xattrs);

/// Encodes into the inode's tail, which must be zeros.
void encode_inline_xattrs(std::span<const Xattr> xattrs, std::span<std::byte, kInlineXattrBytes> tail);
/// Encodes into a block of its own.
void encode_xattr_block(std::span<const Xattr> xattrs, std::span<std::byte, kBlockBytes> block);

}  // namespace nanobox::ext4
