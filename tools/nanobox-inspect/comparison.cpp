#include "tools/nanobox-inspect/comparison.hpp"

#include <algorithm>
#include <map>

#include "tools/nanobox-inspect/stage_stats.hpp"

namespace nanobox::inspection {

std::optional<double> StageChange::ratio() const {
  if (!in_both() || median_a_us <= 0) return std::nullopt;
  return static_cast<double>(median_b_us) / static_cast<double>(median_a_us);
}

std::vector<StageChange> compare(const std::vector<RunView>& a, const std::vector<RunView>& b) {
  std::map<std::pair<std::string, std::string>, StageChange> by_stage;
  for (const auto& stats : stage_stats(a)) {
    auto& change = by_stage[{stats.pipeline, stats.stage}];
    change.count_a = stats.count;
    change.median_a_us = stats.p50_us;
    change.p95_a_us = stats.p95_us;
  }
  for (const auto& stats : stage_stats(b)) {
    auto& change = by_stage[{stats.pipeline, stats.stage}];
    change.count_b = stats.count;
    change.median_b_us = stats.p50_us;
    change.p95_b_us = stats.p95_us;
  }
  std::vector<StageChange> out;
  for (auto& [key, change] : by_stage) {
    if (change.count_a + change.count_b == 0) continue;
    change.pipeline = key.first;
    change.stage = key.second;
    out.push_back(std::move(change));
  }
  std::ranges::stable_sort(out, [](const auto& left, const auto& right) {
    if (left.in_both() != right.in_both()) return left.in_both();
    return left.slower_us() > right.slower_us();
  });
  return out;
}

bool is_slower(const StageChange& change, double percent, std::int64_t least_us) {
  return change.in_both() && change.slower_us() >= std::max<std::int64_t>(1, least_us) &&
         static_cast<double>(change.slower_us()) * 100 > percent * static_cast<double>(change.median_a_us);
}

}  // namespace nanobox::inspection
