#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "config/error.hpp"
#include "pipeline/cluster/placement/node_view.hpp"

namespace nanobox {

/// A sandbox' share of a node.
struct Reservation {
  std::string sandbox_id;
  std::string node_id;
  std::string owner;
  Amounts resources;
  std::string from_pool;  ///< the template key of the pool whose member it takes; empty: none
  bool operator==(const Reservation&) const = default;
};

/// What nodes have that decides whether a VM can run there at all; nodes of one kind share an entry.
struct MachineKind {
  std::vector<std::string> vmms;          ///< sorted
  std::vector<std::string> cpu_features;  ///< sorted
  bool operator==(const MachineKind&) const = default;
};

/// What the scheduler knows of the cluster: its nodes, which sandboxes have which share of them, and who has what.
/// A value of one thread. What sandboxes take is summed from the reservations here and never from heartbeats, which may
/// be older or newer than they are.
class ClusterView {
public:
  using Slot = std::uint32_t;  ///< an index of `nodes()`, valid until a node is removed

  /// A node joined (it is ready then) or its heartbeat came; state, cordon and shares of a known one stay.
  void report(NodeReport report);
  /// @errors node_not_found
  Result<void> set_state(std::string_view node_id, NodeState state);
  /// @errors node_not_found
  Result<void> set_cordoned(std::string_view node_id, bool cordoned);
  /// Forgets a node with all shares of it. O(all shares). @returns the sandboxes that had one, sorted
  std::vector<std::string> remove(std::string_view node_id);

  /// Takes a share for a boot. Repeating it changes nothing.
  /// @errors node_not_found · node_lost · no_capacity (it does not fit any more, or the node is not ready) · conflict:
  /// the sandbox has another share
  Result<void> reserve(const Reservation& reservation);
  /// The boot is done: the share counts as used. Repeating it changes nothing. @errors sandbox_not_found: it has none
  Result<void> confirm(std::string_view sandbox_id);
  /// Gives the share back; none is fine.
  void release(std::string_view sandbox_id);
  /// Notes a sandbox that runs already, whether there is room or not, as confirmed: after a start of the control plane,
  /// or when a node comes back. Replaces another share of it. @errors node_not_found
  Result<void> adopt(Reservation reservation);

  /// Nothing where the sandbox has no share; until the next change.
  const Reservation* find_share(std::string_view sandbox_id) const;
  std::size_t shares() const { return shares_.size(); }
  /// The sandboxes that have a share of it, sorted. O(all shares).
  std::vector<std::string> sandboxes_on(std::string_view node_id) const;

  /// Nothing where it is not known; until the next change.
  const NodeView* find(std::string_view node_id) const;
  const std::vector<NodeView>& nodes() const { return nodes_; }
  const MachineKind& machine(const NodeView& node) const { return machines_[node.machine].kind; }
  std::size_t machines() const { return machines_.size(); }

  // Ascending; of any state but for the first.
  std::span<const Slot> open() const { return open_; }  ///< ready and not cordoned
  std::span<const Slot> with_rootfs(std::string_view identity) const { return listed(with_rootfs_, identity); }
  std::span<const Slot> with_snapshot(std::string_view key) const { return listed(with_snapshot_, key); }
  std::span<const Slot> with_pool(std::string_view template_key) const { return listed(with_pool_, template_key); }

private:
  struct TextHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
  };
  template <class Value>
  using ByText = std::unordered_map<std::string, Value, TextHash, std::equal_to<>>;
  using Index = ByText<std::vector<Slot>>;
  struct Share {
    Reservation reservation;
    bool confirmed = false;
  };
  struct Machine {
    MachineKind kind;
    std::size_t nodes = 0;
  };

  static std::span<const Slot> listed(const Index& index, std::string_view key);
  NodeView* node_of(std::string_view node_id);
  std::uint32_t enter_machine(MachineKind kind);
  void index(Slot slot);
  void unindex(Slot slot);
  void index_open(Slot slot);
  void take_member(NodeView& node, const std::string& template_key);
  void give_back(const Share& share);

  std::vector<NodeView> nodes_;
  ByText<Slot> slots_;
  ByText<Share> shares_;
  std::vector<Machine> machines_;
  std::vector<Slot> open_;
  Index with_rootfs_, with_snapshot_, with_pool_;
};

}  // namespace nanobox
