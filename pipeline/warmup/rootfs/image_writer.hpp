#pragma once

#include <array>
#include <cstdint>

#include "config/error.hpp"
#include "pipeline/stage_context.hpp"
#include "pipeline/warmup/rootfs/data_area.hpp"
#include "pipeline/warmup/rootfs/merge.hpp"

namespace nanobox {

struct ImageUsage {
  std::uint64_t size_bytes = 0;
  std::uint64_t used_bytes = 0;
  std::uint64_t entries = 0;  ///< inodes
};

/// Writes the ext4 metadata of `tree` around the file data that is in `image` already, behind it; data that no name
/// leads to is punched out. The file is set to its final size. Blocking.
/// @param id  becomes the file system's uuid and hash seed
/// @errors  layer_unsupported (names the entry) · layer_too_large · disk_full · cancelled
Result<ImageUsage> write_image(const StageContext& context, int image, DataArea& area, const MergedTree& tree,
                               const std::array<std::uint8_t, 32>& id);

}  // namespace nanobox
