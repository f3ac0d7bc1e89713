#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tools/nanobox-inspect/run_view.hpp"

namespace nanobox::inspection {

/// Where the time of one stage goes, over many runs. Microseconds.
struct StageStats {
  std::string pipeline;
  std::string stage;
  std::uint64_t count = 0;  ///< stages that ended
  std::uint64_t running = 0;
  std::uint64_t failures = 0;
  std::uint64_t retries = 0;
  std::int64_t p50_us = 0;
  std::int64_t p95_us = 0;
  std::int64_t p99_us = 0;
  std::int64_t max_us = 0;
  std::int64_t total_us = 0;
  double share = 0;  ///< of all stages' time, 0 to 1
  std::uint64_t bytes = 0;
};

/// The value that `share` (0 to 1) of all are not above (nearest rank); 0 of none. @param sorted  ascending
std::int64_t percentile(const std::vector<std::int64_t>& sorted, double share);

/// One for each stage that ran, those that took the most time first.
std::vector<StageStats> stage_stats(const std::vector<RunView>& runs);

}  // namespace nanobox::inspection
