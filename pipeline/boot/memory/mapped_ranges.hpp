#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "config/error.hpp"

namespace nanobox {

/// One line of /proc/PID/maps.
struct MappedRange {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  bool readable = false, writable = false, is_private = false;
  std::uint64_t offset = 0;  ///< in its file, in bytes
  std::uint64_t inode = 0;
  std::string_view path, line;  ///< of the text that was read
};

/// @returns  nothing for a line of another form
std::optional<MappedRange> parse_mapped_range(std::string_view line);

/// All lines of /proc/PID/maps. `maps` must outlive the ranges. @errors vmm_failed, with the line that cannot be read
Result<std::vector<MappedRange>> parse_mapped_ranges(std::string_view maps);

/// Neighbouring ranges that are readable, writable and private, with nothing between them.
struct PrivateRegion {
  std::span<const MappedRange> ranges;  ///< of the list that was searched; not empty
  std::uint64_t begin() const { return ranges.front().begin; }
  std::uint64_t end() const { return ranges.back().end; }
};
std::vector<PrivateRegion> find_private_regions(std::span<const MappedRange> ranges);

/// The address of `memory_bytes` of guest memory, which a VMM maps privately: extents of the memory file and of layers,
/// anonymous memory between them. What is mapped of the file tells where it begins; an empty file leaves no such
/// range, then exactly one place must have that size between the borders of two ranges.
/// @param inode  of the memory file. @errors vmm_failed: there is no such place, or several
Result<std::uint64_t> find_guest_memory(std::span<const MappedRange> ranges, std::uint64_t inode,
                                        std::uint64_t memory_bytes);

}  // namespace nanobox
