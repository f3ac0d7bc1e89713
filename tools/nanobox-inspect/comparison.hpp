#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tools/nanobox-inspect/run_view.hpp"

namespace nanobox::inspection {

/// How long a stage took in two sets of runs: its median in each. Microseconds.
struct StageChange {
  std::string pipeline;
  std::string stage;
  std::uint64_t count_a = 0;
  std::uint64_t count_b = 0;
  std::int64_t median_a_us = 0;
  std::int64_t median_b_us = 0;
  std::int64_t p95_a_us = 0;
  std::int64_t p95_b_us = 0;

  bool in_both() const { return count_a > 0 && count_b > 0; }
  /// Above 0: slower in B; 0 where it is not in both.
  std::int64_t slower_us() const { return in_both() ? median_b_us - median_a_us : 0; }
  /// B's median by A's; nothing where it is not in both, or A's is 0.
  std::optional<double> ratio() const;
};

/// What got slower from A to B, most first; at the end what got faster, and what is in one only.
std::vector<StageChange> compare(const std::vector<RunView>& a, const std::vector<RunView>& b);

/// Whether the stage got slower by more than `percent` of A's, and by at least `least_us`.
bool is_slower(const StageChange& change, double percent, std::int64_t least_us);

}  // namespace nanobox::inspection
