#pragma once

#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "pipeline/metrics/request_metrics.hpp"
#include "pipeline/metrics/run_metrics.hpp"
#include "pipeline/metrics/sandbox_metrics.hpp"

namespace nanobox {

/// What a daemon counts, and the text that Prometheus scrapes. Thread-safe.
class Metrics {
public:
  /// Reads values when somebody asks (family.hpp); on the asker's thread: must not block for long.
  using Collector = std::function<std::vector<prometheus::MetricFamily>()>;

  explicit Metrics(std::string version);

  RunMetrics& runs() { return runs_; }
  SandboxMetrics& sandboxes() { return sandboxes_; }
  RequestMetrics& requests() { return requests_; }
  /// Families whose names nobody else has; empty ones are left out.
  void add(Collector collector);

  /// All of it, as "text/plain; version=0.0.4".
  std::string text() const;

private:
  const std::string version_;
  prometheus::Registry registry_;
  RunMetrics runs_{registry_};
  SandboxMetrics sandboxes_{registry_, wall_now()};
  RequestMetrics requests_{registry_};
  mutable std::mutex mutex_;
  std::vector<Collector> collectors_;
};

}  // namespace nanobox
