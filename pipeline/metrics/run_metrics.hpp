#pragma once

#include <deque>
#include <mutex>
#include <unordered_map>
#include <unordered_set>

#include "pipeline/metrics/bounded_names.hpp"
#include "pipeline/metrics/series.hpp"
#include "pipeline/run.hpp"

namespace nanobox {

/// Counts runs of pipelines and their stages as they end. Thread-safe.
class RunMetrics {
public:
  explicit RunMetrics(prometheus::Registry& registry);

  /// A run as it is now; each is counted once, when it has ended.
  void take(const RunRecord& run);
  /// How many have not ended, by pipeline.
  std::map<std::string, std::size_t> active() const;

private:
  struct Open {
    std::string pipeline;
    bool layers_counted = false;
  };
  void count_layers(const RunRecord& run, Open& open);
  bool is_counted(const std::string& id);
  void count(const RunRecord& run);

  mutable std::mutex mutex_;
  BoundedNames pipelines_{16};
  BoundedNames stages_{64};
  Series<prometheus::Counter, 2> runs_;
  Series<prometheus::Counter, 2> stage_bytes_;
  Series<prometheus::Histogram, 3> stage_durations_;
  Series<prometheus::Histogram, 0> fork_durations_;
  Series<prometheus::Histogram, 0> pause_durations_;
  prometheus::Counter& layer_hits_;
  prometheus::Counter& layer_misses_;
  std::unordered_map<std::string, Open> open_;  ///< by id
  std::unordered_set<std::string> counted_;     ///< the latest, for one that is told twice
  std::deque<std::string> counted_order_;
};

}  // namespace nanobox
