#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace nanobox {

inline constexpr std::uint64_t page_bytes = 4096;

/// Neighbouring pages of a guest's memory, in pages of 4096 bytes. Lists of runs are ascending and do not overlap.
struct PageRun {
  std::uint64_t first = 0;
  std::uint64_t count = 0;
  std::uint64_t end() const { return first + count; }
  friend bool operator==(const PageRun&, const PageRun&) = default;
};

std::uint64_t count_pages(std::span<const PageRun> runs);

/// Whether `runs` are ascending, not overlapping, none empty, and end within `pages`.
bool are_in_order(std::span<const PageRun> runs, std::uint64_t pages);

/// Adds a run behind the last one, or to it where they touch.
void append_run(std::vector<PageRun>& runs, PageRun run);

/// The pages that are in either list; runs that touch become one.
std::vector<PageRun> unite_runs(std::span<const PageRun> left, std::span<const PageRun> right);

/// The pages of `runs` that are not in `without`.
std::vector<PageRun> subtract_runs(std::span<const PageRun> runs, std::span<const PageRun> without);

/// The pages that are in both lists.
std::vector<PageRun> intersect_runs(std::span<const PageRun> left, std::span<const PageRun> right);

/// At most `most` runs (at least 1) that hold all pages of `runs`: neighbours are joined over the smallest gaps.
std::vector<PageRun> join_runs(std::vector<PageRun> runs, std::size_t most);

}  // namespace nanobox
