#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "config/error.hpp"
#include "config/unique_fd.hpp"
#include "pipeline/stage_context.hpp"
#include "pipeline/warmup/source/image_source.hpp"

namespace nanobox {

/// Opens `path`, a folder or a regular file, if it lies below one of `roots` once every symlink is resolved.
/// Outside of them nothing is told about what exists.
/// @errors image_source_forbidden · image_not_found · file_unreadable
Result<UniqueFd> open_below(const std::vector<std::filesystem::path>& roots, const std::filesystem::path& path,
                            bool folder);

/// Opens the regular file `relative` inside `folder`; symlinks may not lead out of it.
/// @errors image_source_forbidden · image_not_found · file_unreadable
Result<UniqueFd> open_inside(const UniqueFd& folder, const std::string& relative);

/// A whole file of at most `max_bytes`. @errors file_unreadable
Result<std::string> read_file(const std::filesystem::path& path, std::uint64_t max_bytes);
Result<std::string> read_all(const UniqueFd& file, const std::string& name, std::uint64_t max_bytes);

/// Hands the file's bytes from `offset` on to `sink`. @errors file_unreadable · the sink's · cancelled
Result<void> read_to(const StageContext& context, const UniqueFd& file, const std::string& name, std::uint64_t offset,
                     const BlobSink& sink);

}  // namespace nanobox
