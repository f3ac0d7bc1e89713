#include "pipeline/boot/memory/page_run.hpp"

#include <algorithm>

namespace nanobox {

std::uint64_t count_pages(std::span<const PageRun> runs) {
  std::uint64_t pages = 0;
  for (const auto& run : runs) pages += run.count;
  return pages;
}

bool are_in_order(std::span<const PageRun> runs, std::uint64_t pages) {
  std::uint64_t end = 0;
  for (const auto& run : runs) {
    if (run.count == 0 || run.first < end || run.first > pages || run.count > pages - run.first) return false;
    end = run.end();
  }
  return true;
}

void append_run(std::vector<PageRun>& runs, PageRun run) {
  if (!runs.empty() && runs.back().end() == run.first) {
    runs.back().count += run.count;
  } else {
    runs.push_back(run);
  }
}

std::vector<PageRun> unite_runs(std::span<const PageRun> left, std::span<const PageRun> right) {
  std::vector<PageRun> united;
  united.reserve(left.size() + right.size());
  while (!left.empty() || !right.empty()) {
    auto& from = right.empty() || (!left.empty() && left.front().first < right.front().first) ? left : right;
    const auto run = from.front();
    from = from.subspan(1);
    if (!united.empty() && run.first <= united.back().end()) {
      united.back().count = std::max(united.back().end(), run.end()) - united.back().first;
    } else {
      united.push_back(run);
    }
  }
  return united;
}

std::vector<PageRun> subtract_runs(std::span<const PageRun> runs, std::span<const PageRun> without) {
  std::vector<PageRun> rest;
  for (const auto& run : runs) {
    auto at = run.first;
    while (!without.empty() && without.front().end() <= at) without = without.subspan(1);
    for (auto next = without; at < run.end(); next = next.subspan(1)) {
      const auto hole = next.empty() || next.front().first >= run.end() ? PageRun{run.end(), 0} : next.front();
      if (hole.first > at) append_run(rest, {at, hole.first - at});
      at = std::max(at, hole.end());
      if (hole.count == 0) break;
    }
  }
  return rest;
}

std::vector<PageRun> intersect_runs(std::span<const PageRun> left, std::span<const PageRun> right) {
  std::vector<PageRun> both;
  while (!left.empty() && !right.empty()) {
    const auto first = std::max(left.front().first, right.front().first);
    const auto end = std::min(left.front().end(), right.front().end());
    if (first < end) append_run(both, {first, end - first});
    auto& ended = left.front().end() < right.front().end() ? left : right;
    ended = ended.subspan(1);
  }
  return both;
}

std::vector<PageRun> join_runs(std::vector<PageRun> runs, std::size_t most) {
  if (runs.size() <= most) return runs;
  std::vector<std::uint64_t> gaps;
  gaps.reserve(runs.size() - 1);
  for (std::size_t i = 1; i < runs.size(); ++i) gaps.push_back(runs[i].first - runs[i - 1].end());
  const auto joins = runs.size() - most;
  auto sorted = gaps;
  std::nth_element(sorted.begin(), sorted.begin() + static_cast<std::ptrdiff_t>(joins - 1), sorted.end());
  const auto widest = sorted[joins - 1];
  // Of the gaps as wide as the widest that is closed, only as many as are needed.
  auto at_limit =
      joins - static_cast<std::size_t>(std::count_if(gaps.begin(), gaps.end(), [&](auto gap) { return gap < widest; }));
  std::vector<PageRun> joined{runs.front()};
  for (std::size_t i = 1; i < runs.size(); ++i) {
    const bool close = gaps[i - 1] < widest || (gaps[i - 1] == widest && at_limit > 0);
    if (gaps[i - 1] == widest && close) --at_limit;
    if (close) {
      joined.back().count = runs[i].end() - joined.back().first;
    } else {
      joined.push_back(runs[i]);
    }
  }
  return joined;
}

}  // namespace nanobox
