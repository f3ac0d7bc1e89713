#include "pipeline/boot/memory/mapped_ranges.hpp"

#include <algorithm>
#include <set>

#include "config/whole_number.hpp"

namespace nanobox {

namespace {

std::string_view next_word(std::string_view& line) {
  line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
  const auto word = line.substr(0, line.find(' '));
  line.remove_prefix(word.size());
  return word;
}

Error not_found(std::string reason) {
  return {.code = ErrorCode::vmm_failed,
          .attempted = "find the guest's memory",
          .subject = "",
          .reason = std::move(reason),
          .mend = ""};
}

}  // namespace

std::optional<MappedRange> parse_mapped_range(std::string_view line) {
  MappedRange range;
  range.line = line;
  const auto addresses = next_word(line);
  const auto dash = addresses.find('-');
  if (dash == std::string_view::npos) return std::nullopt;
  const auto begin = whole_number<std::uint64_t>(addresses.substr(0, dash), 16);
  const auto end = whole_number<std::uint64_t>(addresses.substr(dash + 1), 16);
  if (!begin || !end || *end < *begin) return std::nullopt;
  range.begin = *begin;
  range.end = *end;
  const auto rights = next_word(line);
  if (rights.size() != 4) return std::nullopt;
  range.readable = rights[0] == 'r';
  range.writable = rights[1] == 'w';
  range.is_private = rights[3] == 'p';
  const auto offset = whole_number<std::uint64_t>(next_word(line), 16);
  next_word(line);  // device: that of a file on an overlay differs from stat's
  const auto inode = whole_number<std::uint64_t>(next_word(line));
  if (!offset || !inode) return std::nullopt;
  range.offset = *offset;
  range.inode = *inode;
  line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
  range.path = line;
  return range;
}

Result<std::vector<MappedRange>> parse_mapped_ranges(std::string_view maps) {
  std::vector<MappedRange> ranges;
  while (!maps.empty()) {
    const auto line = maps.substr(0, maps.find('\n'));
    maps.remove_prefix(std::min(line.size() + 1, maps.size()));
    const auto range = parse_mapped_range(line);
    if (!range) return fail(not_found("a line of its maps cannot be read: " + std::string(line)));
    ranges.push_back(*range);
  }
  return ranges;
}

std::vector<PrivateRegion> find_private_regions(std::span<const MappedRange> ranges) {
  std::vector<PrivateRegion> regions;
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    const auto& range = ranges[i];
    if (!range.is_private || !range.readable || !range.writable) continue;
    auto* last = regions.empty() ? nullptr : &regions.back().ranges;
    if (last != nullptr && last->data() + last->size() == &range && last->back().end == range.begin) {
      *last = {last->data(), last->size() + 1};
    } else {
      regions.push_back({ranges.subspan(i, 1)});
    }
  }
  return regions;
}

Result<std::uint64_t> find_guest_memory(std::span<const MappedRange> ranges, std::uint64_t inode,
                                        std::uint64_t memory_bytes) {
  std::set<std::uint64_t> by_file, by_size;
  for (const auto& region : find_private_regions(ranges)) {
    if (region.end() - region.begin() < memory_bytes) continue;
    for (const auto& range : region.ranges) {
      if (range.inode == inode && inode != 0 && range.offset <= range.begin - region.begin() &&
          region.end() - (range.begin - range.offset) >= memory_bytes)
        by_file.insert(range.begin - range.offset);
      const auto is_end = [&](const MappedRange& other) { return other.end == range.begin + memory_bytes; };
      if (std::any_of(region.ranges.begin(), region.ranges.end(), is_end)) by_size.insert(range.begin);
    }
  }
  if (by_file.size() == 1) return *by_file.begin();
  // A layer on another file system may have the memory file's number.
  if (by_file.size() > 1) std::erase_if(by_size, [&](std::uint64_t begin) { return !by_file.contains(begin); });
  if (by_size.size() == 1) return *by_size.begin();
  return fail(not_found(by_file.empty() && by_size.empty() ? "no private memory of the guest's size is mapped"
                                                           : "several places may be the guest's memory"));
}

}  // namespace nanobox
