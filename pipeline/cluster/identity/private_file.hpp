#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "config/error.hpp"

namespace nanobox {

/// Makes a folder that only its owner may enter (0700), and sets that on one that is there. @errors io_failed
Result<void> make_private_folder(const std::filesystem::path& folder);

/// Makes what was renamed in `folder` survive a power failure. @errors io_failed
Result<void> flush_folder(const std::filesystem::path& folder);

/// Writes `bytes` to a new file (0600) beside `file`, flushes it, and puts it in its place: readers see all of the old
/// or all of the new. @errors disk_full · io_failed
Result<void> write_private_file(const std::filesystem::path& file, std::string_view bytes);

/// The bytes of a file of at most 64 KiB; nothing where there is none.
/// @errors file_unreadable: it is longer, no regular file, or others than its owner may read it · io_failed
Result<std::optional<std::string>> read_private_file(const std::filesystem::path& file);

}  // namespace nanobox
