#pragma once

#include <stdexcept>
#include <string>

#include "pipeline/cluster/placement/placement.hpp"

namespace nanobox::test {

inline constexpr Amounts kSmall{.vcpu = 1, .memory_mb = 512, .disk_mb = 2048, .addresses = 1};

/// A node with room for eight small sandboxes, by memory.
inline NodeReport some_node(std::string id) {
  NodeReport report;
  report.node_id = std::move(id);
  report.capacity = {.vcpu = 4, .memory_mb = 4096, .disk_mb = 100'000, .addresses = 250};
  report.vmms = {"qemu-tcg"};
  report.cpu_features = {"avx2", "sse4_2"};
  return report;
}

inline Wish some_wish() {
  Wish wish;
  wish.owner = "ann";
  wish.template_key = "ann/python";
  wish.rootfs_identity = "rootfs-1";
  wish.snapshot_key = "snapshot-1";
  wish.resources = kSmall;
  return wish;
}

/// Nodes n1, n2, … and a dice.
struct SomeCluster {
  ClusterView view;
  RandomBits random{1};

  void add(const NodeReport& report) { view.report(report); }
  void add(int count) {
    for (int at = 1; at <= count; ++at) add(some_node("n" + std::to_string(at)));
  }
  std::string placed(const Wish& wish) {
    const auto decision = place(view, wish, random);
    return decision ? decision->node_id : describe(decision.error());
  }
  Error refused(const Wish& wish) {
    const auto decision = place(view, wish, random);
    if (!decision) return decision.error();
    Error none;
    none.reason = "placed on " + decision->node_id;
    return none;
  }
  /// Places and reserves.
  Result<Decision> start(const Wish& wish, std::string sandbox_id) {
    auto decision = NANOBOX_TRY(place(view, wish, random));
    NANOBOX_TRY(view.reserve(reservation_for(wish, decision, std::move(sandbox_id))));
    return decision;
  }
  /// Takes so many small sandboxes' room on a node.
  void fill(const std::string& node_id, int count, const std::string& owner = "else") {
    for (int at = 0; at < count; ++at) {
      const auto id = node_id + owner + std::to_string(at);
      if (!view.adopt({.sandbox_id = id, .node_id = node_id, .owner = owner, .resources = kSmall, .from_pool = ""}))
        throw std::runtime_error("no node " + node_id);
    }
  }
};

}  // namespace nanobox::test
