#pragma once

#include <optional>
#include <string>
#include <vector>

#include "config/error.hpp"
#include "pipeline/cluster/placement/cluster_view.hpp"
#include "pipeline/cluster/placement/wish.hpp"

namespace nanobox {

/// What a placement finds of one node.
struct NodeVerdict {
  std::string node_id;
  bool fits = false;
  std::string why;  ///< why not this one: "draining", "full: memory 480 of 512, 64 more wanted"
  bool operator==(const NodeVerdict&) const = default;
};

/// The two nodes that a placement drew, the better first; there may have been one only.
struct Draw {
  ClusterView::Slot chosen = 0;
  std::optional<ClusterView::Slot> other;
  bool by_spread = false;  ///< equally loaded, but fewer sandboxes of the owner
};

/// Every node but the chosen one, by id. Without a draw: of every node, as when none fits. O(nodes).
std::vector<NodeVerdict> verdicts(const ClusterView& view, const Wish& wish, const std::optional<Draw>& draw = {});

/// What spoke for the chosen node, the weightiest first: "has the snapshot", "less loaded of two: 12 % against 40 %".
std::vector<std::string> score_of(const ClusterView& view, const Wish& wish, const Draw& draw);

/// Why no node takes the wish. @returns the error that `place` fails with
Error none_fits(const ClusterView& view, const Wish& wish);

}  // namespace nanobox
