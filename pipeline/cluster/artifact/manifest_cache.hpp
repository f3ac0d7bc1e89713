#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

#include "pipeline/cluster/artifact/manifest.hpp"

namespace nanobox {

/// What tells that a file is the one that was read.
struct FileMark {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  std::uint64_t size = 0;
  std::uint64_t changed_ns = 0;  ///< since the epoch
  bool operator==(const FileMark&) const = default;
};

/// @errors io_failed
Result<FileMark> mark_of(int fd);

/// The manifest kept in `path` if it was made of just these files, in this order; a broken one counts as none.
std::optional<ArtifactManifest> read_cached_manifest(const std::filesystem::path& path,
                                                     const std::vector<FileMark>& marks);
/// Replaces it at once. @errors disk_full · io_failed
Result<void> write_cached_manifest(const std::filesystem::path& path, const std::vector<FileMark>& marks,
                                   const ArtifactManifest& manifest);

}  // namespace nanobox
