#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "config/error.hpp"
#include "pipeline/warmup/types.hpp"

namespace nanobox {

/// Changes whenever the same image would be built differently.
inline constexpr std::string_view kRootfsBuilderVersion = "1";

/// Hex digest over configuration, layers, platform, init and builder version: a change of any rebuilds, nothing else
/// does.
std::string rootfs_identity(const ResolvedImage& image, std::string_view init_digest);

/// The finished root of that identity, if the folder holds it whole.
std::optional<BuiltRootfs> find_rootfs(const std::filesystem::path& folder, const std::string& identity);

/// Removes a root, its record and the names that lead to it; a missing one is no error.
Result<void> remove_rootfs(const std::filesystem::path& folder, const std::string& identity);

/// Makes <folder>/<name>.ext4 a link to the root, for people; replaces an earlier one of that name.
/// @errors  invalid_value (the name holds a slash or is an identity) · io_failed
Result<void> link_rootfs_name(const std::filesystem::path& folder, const BuiltRootfs& rootfs, const std::string& name);
void unlink_rootfs_name(const std::filesystem::path& folder, const std::string& name);

/// At start: makes the folder and empties `.tmp/`; removes images without a record, records without an image and links
/// that lead nowhere. Only while no build runs.
Result<void> clean_rootfs_folder(const std::filesystem::path& folder);

}  // namespace nanobox
