#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>

#include "config/error.hpp"
#include "pipeline/warmup/rootfs/ext4/geometry.hpp"

namespace nanobox::ext4 {

using BlockBytes = std::array<std::byte, kBlockBytes>;
/// Changed blocks by number; equal ones may share their bytes.
using ChangedBlocks = std::map<std::uint64_t, std::shared_ptr<const BlockBytes>>;

struct Growth {
  std::uint64_t old_size_bytes = 0;
  ChangedBlocks blocks;  ///< what is not among them stays, and reads as zeros behind the old end
};

/// What makes an image of `write_image` that no guest has written to into one of `size_bytes`: superblocks,
/// descriptors, bitmaps of old and new groups. New inode tables are zeros. The image is only read. A few blocks at the
/// end stay outside the file system where they would make no group.
/// @errors  image_too_small (the mend names the least size) · invalid_value (above 1 TiB, or no image of ours) ·
/// io_failed
Result<Growth> plan_growth(int image, std::uint64_t size_bytes);

}  // namespace nanobox::ext4
