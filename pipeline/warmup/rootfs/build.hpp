#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "config/error.hpp"
#include "pipeline/stage_context.hpp"
#include "pipeline/warmup/rootfs/extract.hpp"
#include "pipeline/warmup/rootfs/rootfs_cache.hpp"
#include "pipeline/warmup/types.hpp"

namespace nanobox {

/// What NanoBox adds on top of an image, as one more layer through the same rules: the init at /sbin/nanobox-init,
/// /etc/nanobox/env.sh and image.json (both from the image's configuration), and the mount points that are missing.
struct RootfsAdditions {
  std::vector<std::byte> init_binary;
  std::string init_digest;  ///< part of the identity
};

/// Merges the layers, writes the ext4 metadata around the data and publishes <rootfs>/<identity>.ext4 with its .json:
/// both are on disk (fsync) before they carry their names. The file is data + metadata + max(64 MiB, 10 %) long.
/// On failure nothing is left. Blocking: a worker thread only.
/// @errors  layer_invalid · layer_unsupported (both name the entry) · disk_full · cancelled
/// @see     design/ext4.md; kernel Documentation/filesystems/ext4
Result<BuiltRootfs> build_rootfs(const StageContext& context, ExtractedImage extracted,
                                 const RootfsAdditions& additions);

}  // namespace nanobox
