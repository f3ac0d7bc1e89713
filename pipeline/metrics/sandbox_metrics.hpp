#pragma once

#include <functional>
#include <mutex>
#include <string>
#include <unordered_map>

#include "pipeline/insight/sandbox_death.hpp"
#include "pipeline/metrics/bounded_names.hpp"
#include "pipeline/metrics/series.hpp"
#include "pipeline/sandbox.hpp"

namespace nanobox {

/// Counts what becomes of sandboxes. Thread-safe.
class SandboxMetrics {
public:
  /// @param begin  those that were made before are not counted as begun
  SandboxMetrics(prometheus::Registry& registry, WallTime begin);

  /// One as it is now.
  /// @param has_pool  whether its template has a warm pool somewhere; asked when it begins to run
  void take(const Sandbox& sandbox, const std::function<bool(const Sandbox&)>& has_pool = {});
  void gone(const std::string& id);
  void take(const SandboxDeath& death);

private:
  const WallTime begin_;
  std::mutex mutex_;
  BoundedNames boot_paths_{16};
  Series<prometheus::Counter, 1> boots_;
  Series<prometheus::Counter, 1> ended_;
  Series<prometheus::Counter, 0> pool_takes_;
  Series<prometheus::Counter, 0> pool_misses_;
  Series<prometheus::Histogram, 1> boot_durations_;
  Series<prometheus::Histogram, 0> restore_durations_;
  struct Known {
    SandboxStatus status;
    std::optional<std::int64_t> boot_time_ms, restore_time_ms;
  };
  std::unordered_map<std::string, Known> known_;
};

}  // namespace nanobox
