#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "config/error.hpp"

namespace nanobox::cli {

/// The next bytes of an archive; empty: its end.
using PullBytes = std::function<Result<std::string>()>;
using PushBytes = std::function<Result<void>(std::string_view)>;

/// Unpacks a tar into an empty folder that nobody else writes to; nothing lands outside of it, whatever its names and
/// links say. Modes without set-id bits and times are kept, owners are not. Devices, pipes and sockets are left out.
/// @returns the names of what was left out
/// @errors archive_invalid: damaged, or it wants to go outside · io_failed · disk_full · those of `next`
Result<std::vector<std::string>> unpack_tar(const std::filesystem::path& folder, const PullBytes& next);

/// A folder's content as tar: "./" first, links as links, hard links as such, everything owned by root. Devices, pipes
/// and sockets are left out. @returns the names of what was left out
/// @errors io_failed, with the path; also where a file gets shorter meanwhile · those of `push`
Result<std::vector<std::string>> pack_tar(const std::filesystem::path& folder, const PushBytes& push);

/// Moves everything in `from` into `into` on the same file system: folders are joined, files replaced. Nothing moves
/// where something cannot. @errors not_a_folder, file_is_folder: the path is one here and the other there · io_failed
Result<void> move_into(const std::filesystem::path& from, const std::filesystem::path& into);

/// How many bytes the files in a folder hold.
std::uint64_t bytes_in(const std::filesystem::path& folder);

}  // namespace nanobox::cli
