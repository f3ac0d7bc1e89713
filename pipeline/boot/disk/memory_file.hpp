#pragma once

#include <cstdint>
#include <filesystem>

#include "config/error.hpp"

namespace nanobox {

/// Makes an empty sparse file of `megabytes` MiB, mode 0600, for a guest's memory. `path` must not exist.
/// @errors  disk_full · io_failed
Result<void> create_memory_file(const std::filesystem::path& path, std::uint64_t megabytes);

}  // namespace nanobox
