#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "config/error.hpp"
#include "pipeline/boot/memory/mapped_ranges.hpp"

namespace nanobox {

/// What `maps` (the text of /proc/PID/maps) says against `memory_bytes` of guest memory being private; empty for
/// nothing. @param inode  of the memory file
std::string find_shared_memory(std::string_view maps, std::uint64_t inode, std::uint64_t memory_bytes);

/// Whether a VMM holds its guest's memory privately: no mapping of the file is shared, a private one of that size is
/// there, and no descriptor can write to the file. Blocking: reads /proc.
/// @errors vmm_failed, with what was found; the VMM must be ended then
Result<void> check_private_memory(pid_t vmm, const std::filesystem::path& memory_file, std::uint64_t memory_bytes);

}  // namespace nanobox
