#pragma once

#include <functional>
#include <string>

#include "config/error.hpp"
#include "pipeline/cluster/artifact/manifest.hpp"

namespace nanobox {

/// Finds the extents of the regular file open at `fd` and their digests by reading its data once.
/// @param on_scanned  told how many bytes of data were read, about once a chunk @errors io_failed
Result<ArtifactFile> scan_file(int fd, const std::string& name, const std::function<void(std::uint64_t)>& on_scanned);

}  // namespace nanobox
