#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "pipeline/cluster/placement/cluster_view.hpp"
#include "pipeline/cluster/placement/wish.hpp"

namespace nanobox {

/// Why a node cannot take a wish; of several the first counts.
enum class ObstacleKind : std::uint8_t {
  none,
  elsewhere,  ///< pinned to another node, or its group is on one
  excluded,
  lost,
  unready,
  draining,
  cordoned,
  vmm,
  cpu_features,
  overlay,
  too_small,  ///< even empty
  rootfs,
  snapshot,
  pool,
  full,
};

struct Obstacle {
  ObstacleKind kind = ObstacleKind::none;
  AmountBits short_of = 0;  ///< of `too_small` and `full`
  bool operator==(const Obstacle&) const = default;
  explicit operator bool() const { return kind != ObstacleKind::none; }
};

/// In general: "full (memory, disk)", "draining".
std::string to_string(const Obstacle& obstacle, const Wish& wish);
/// Of one node, with its numbers: "full: memory 480 of 512, 64 more wanted".
std::string describe(const Obstacle& obstacle, const NodeView& node, const Wish& wish);

/// Holds one wish against nodes. Sees each kind of machine once. Lives no longer than view and wish.
class Filter {
public:
  Filter(const ClusterView& view, const Wish& wish);

  /// What stands against `node` now; the room of a pool's member that the wish would take counts as free.
  Obstacle obstacle(const NodeView& node);
  /// Whether nothing does, found without looking further than needed: most nodes that are passed over are full.
  bool fits(const NodeView& node);
  /// What would stand against it were it ready and empty; `none`: only time is needed.
  Obstacle lasting_obstacle(const NodeView& node);
  /// What it has of what the wish starts from.
  Warmth warmth(const NodeView& node) const;

private:
  Obstacle machine_obstacle(const NodeView& node);
  /// The pool with a member for the wish; nothing where there is none.
  const PoolShare* pool_of(const NodeView& node) const;

  const ClusterView& view_;
  const Wish& wish_;
  bool any_machine_;
  bool is_plain_;                                     ///< a node that is open and has room will do
  std::vector<std::string> features_;                 ///< sorted
  std::vector<std::uint8_t> machine_obstacles_ = {};  ///< by machine: its ObstacleKind, or not looked at yet
};

}  // namespace nanobox
