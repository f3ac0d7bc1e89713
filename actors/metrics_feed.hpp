#pragma once

#include "actors/boards.hpp"
#include "pipeline/metrics/cluster_families.hpp"
#include "pipeline/metrics/metrics.hpp"

namespace nanobox {

/// Has a control plane's boards counted: what changes on them as it does, what stands on them when somebody asks.
/// The boards outlive it.
class MetricsFeed {
public:
  MetricsFeed(Boards& boards, std::string version);
  MetricsFeed(const MetricsFeed&) = delete;
  MetricsFeed& operator=(const MetricsFeed&) = delete;

  Metrics& metrics() { return metrics_; }

private:
  std::vector<prometheus::MetricFamily> collect();

  Boards& boards_;
  ClusterNames names_;
  Metrics metrics_;
  Board<RunRecord>::Watch runs_;
  Board<Sandbox>::Watch sandboxes_;
  Board<SandboxDeath>::Watch deaths_;
};

}  // namespace nanobox
