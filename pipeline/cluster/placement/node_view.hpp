#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "config/clock.hpp"
#include "pipeline/cluster/placement/amounts.hpp"

namespace nanobox {

/// Only a ready node gets sandboxes.
enum class NodeState : std::uint8_t { ready = 1, unready, draining, lost };
std::string_view to_string(NodeState state);

/// A template's warm pool on one node.
struct PoolShare {
  std::uint32_t ready = 0;  ///< members that can be taken
  Amounts each;             ///< what one of them takes of the node already
  bool operator==(const PoolShare&) const = default;
};

/// What a node says of itself when it joins and with every heartbeat.
struct NodeReport {
  std::string node_id;
  Amounts capacity;
  Overcommit overcommit;
  Amounts outside;                         ///< taken by what is neither a sandbox of the cluster nor in `pools`
  std::vector<std::string> vmms;           ///< "firecracker", "qemu-kvm", "qemu-tcg"
  std::vector<std::string> cpu_features;   ///< flags, or one name for a whole class of processors
  std::vector<std::string> rootfs;         ///< identities of the templates' roots that are there
  std::vector<std::string> snapshots;      ///< their keys
  std::map<std::string, PoolShare> pools;  ///< by template key
  bool has_overlay = false;                ///< its sandboxes reach those of other nodes that have one
  WallTime at{};
};

/// What the scheduler knows of a node. `occupied` never passes `limit` by a reservation.
struct NodeView {
  // What each placement looks at comes first: two cache lines of a node that is passed over.
  NodeState state = NodeState::ready;
  bool cordoned = false;      ///< gets nothing new; what is pinned there may still come back
  std::uint32_t machine = 0;  ///< index of its VMMs and processor's features in `ClusterView::machines`
  Amounts limit;              ///< capacity with overcommit
  Amounts occupied;           ///< used + reserved + outside + pooled
  Amounts pooled;             ///< by members of warm pools
  std::string id;
  Amounts used;      ///< by sandboxes that are confirmed
  Amounts reserved;  ///< by boots on their way
  std::unordered_map<std::string, std::uint32_t> sandboxes_by_owner;
  std::map<std::string, std::uint32_t> takes_on_their_way;  ///< unconfirmed reservations of pool members
  NodeReport reported;  ///< the last; its lists sorted, its pools less what has been taken since
};

/// The part of its limit that would be taken with `more`, of what is scarcest: 0 to 1, above where it is overfull.
/// Addresses do not count.
double load_of(const NodeView& node, const Amounts& more = {});

/// How much a node has of what the wish starts from; better ones are greater.
enum class Warmth : std::uint8_t { nothing = 1, rootfs, snapshot, pool };

}  // namespace nanobox
