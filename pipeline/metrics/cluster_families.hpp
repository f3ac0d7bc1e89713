#pragma once

#include <prometheus/metric_family.h>

#include <memory>
#include <vector>

#include "pipeline/cluster/node_report.hpp"
#include "pipeline/metrics/bounded_names.hpp"

namespace nanobox {

/// What there is when somebody asks. The vectors' values are never null.
struct ClusterNow {
  std::vector<std::shared_ptr<const Sandbox>> sandboxes;
  std::vector<std::shared_ptr<const Template>> templates;
  std::vector<std::shared_ptr<const NodeStatus>> nodes;
  std::vector<ConcernReport> control_concerns;  ///< the control plane's own; theirs the nodes tell
};

/// Which names may stand in labels.
struct ClusterNames {
  BoundedNames templates{200};
  BoundedNames concerns{64};
};

/// Sandboxes and templates by state, and what the nodes told last: those that are lost have no values but their state.
std::vector<prometheus::MetricFamily> cluster_families(const ClusterNow& now, ClusterNames& names);

}  // namespace nanobox
