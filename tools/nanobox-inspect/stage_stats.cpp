#include "tools/nanobox-inspect/stage_stats.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

namespace nanobox::inspection {

std::int64_t percentile(const std::vector<std::int64_t>& sorted, double share) {
  if (sorted.empty()) return 0;
  const auto rank = static_cast<std::size_t>(std::ceil(share * static_cast<double>(sorted.size())));
  return sorted[std::clamp<std::size_t>(rank, 1, sorted.size()) - 1];
}

std::vector<StageStats> stage_stats(const std::vector<RunView>& runs) {
  struct Collected {
    StageStats stats;
    std::vector<std::int64_t> times;
  };
  std::map<std::pair<std::string, std::string>, Collected> by_stage;
  for (const auto& run : runs)
    for (const auto& stage : run.stages) {
      if (!stage.ran()) continue;
      auto& [stats, times] = by_stage[{run.pipeline, stage.name}];
      stats.retries += static_cast<std::uint64_t>(std::max<std::int64_t>(0, stage.attempts - 1));
      if (stage.status == "running") {
        ++stats.running;
        continue;
      }
      ++stats.count;
      stats.failures += stage.status == "failed" ? 1 : 0;
      stats.bytes += stage.bytes;
      times.push_back(stage.duration_us);
    }
  std::vector<StageStats> out;
  std::int64_t all = 0;
  for (auto& [key, collected] : by_stage) {
    auto& [stats, times] = collected;
    std::ranges::sort(times);
    stats.pipeline = key.first;
    stats.stage = key.second;
    stats.p50_us = percentile(times, 0.50);
    stats.p95_us = percentile(times, 0.95);
    stats.p99_us = percentile(times, 0.99);
    stats.max_us = times.empty() ? 0 : times.back();
    stats.total_us = std::accumulate(times.begin(), times.end(), std::int64_t{0});
    all += stats.total_us;
    out.push_back(std::move(stats));
  }
  for (auto& stats : out) stats.share = all == 0 ? 0 : static_cast<double>(stats.total_us) / static_cast<double>(all);
  std::ranges::stable_sort(out, [](const auto& left, const auto& right) { return left.total_us > right.total_us; });
  return out;
}

}  // namespace nanobox::inspection
