#include "pipeline/cluster/placement/obstacle.hpp"

#include <algorithm>
#include <array>
#include <limits>

namespace nanobox {
namespace {

constexpr auto kNotLookedAt = std::numeric_limits<std::uint8_t>::max();

bool has(const std::vector<std::string>& sorted, const std::string& text) {
  return std::binary_search(sorted.begin(), sorted.end(), text);
}

std::array<std::uint64_t, 4> in_order(const Amounts& amounts) {
  return {amounts.vcpu, amounts.memory_mb, amounts.disk_mb, amounts.addresses};
}

std::string names_of(AmountBits bits) {
  std::string names;
  for (std::size_t at = 0; at < amount_names.size(); ++at)
    if ((bits >> at & 1) != 0) names.append(names.empty() ? "" : ", ").append(amount_names[at]);
  return names;
}

std::string joined(const std::vector<std::string>& texts) {
  std::string line;
  for (const auto& text : texts) line.append(line.empty() ? "" : ", ").append(text);
  return line;
}

}  // namespace

std::string to_string(const Obstacle& obstacle, const Wish& wish) {
  switch (obstacle.kind) {
    case ObstacleKind::none:
      return "fit";
    case ObstacleKind::elsewhere:
      return "not where it must be";
    case ObstacleKind::excluded:
      return "excluded after a failed boot";
    case ObstacleKind::lost:
      return "lost";
    case ObstacleKind::unready:
      return "unready";
    case ObstacleKind::draining:
      return "draining";
    case ObstacleKind::cordoned:
      return "cordoned";
    case ObstacleKind::vmm:
      return "without " + wish.vmm;
    case ObstacleKind::cpu_features:
      return "without the CPU features " + joined(wish.cpu_features);
    case ObstacleKind::overlay:
      return "without an overlay, by which its network group spans nodes ([cluster] overlay_iface)";
    case ObstacleKind::too_small:
      return "too small (" + names_of(obstacle.short_of) + ")";
    case ObstacleKind::rootfs:
      return "without the template";
    case ObstacleKind::snapshot:
      return "without the snapshot";
    case ObstacleKind::pool:
      return "without a pool member of that size";
    case ObstacleKind::full:
      return "full (" + names_of(obstacle.short_of) + ")";
  }
  return "unfit";
}

std::string describe(const Obstacle& obstacle, const NodeView& node, const Wish& wish) {
  const bool is_too_small = obstacle.kind == ObstacleKind::too_small;
  if (!is_too_small && obstacle.kind != ObstacleKind::full) {
    if (obstacle.kind != ObstacleKind::elsewhere) return to_string(obstacle, wish);
    if (!wish.pinned_node.empty() && wish.pinned_node != node.id) return "it is pinned to " + wish.pinned_node;
    return "its network group is on " + wish.group_node + ", which has no overlay ([cluster] overlay_iface)";
  }
  const auto limit = in_order(node.limit), occupied = in_order(node.occupied), wanted = in_order(wish.resources);
  std::string words;
  for (std::size_t at = 0; at < amount_names.size(); ++at) {
    if ((obstacle.short_of >> at & 1) == 0) continue;
    words.append(words.empty() ? (is_too_small ? "too small: " : "full: ") : "; ").append(amount_names[at]).append(" ");
    if (!is_too_small) words += std::to_string(occupied[at]) + " of ";
    words +=
        std::to_string(limit[at]) + ", " + std::to_string(wanted[at]) + (is_too_small ? " wanted" : " more wanted");
  }
  return words;
}

Filter::Filter(const ClusterView& view, const Wish& wish)
    : view_(view),
      wish_(wish),
      any_machine_(wish.vmm.empty() && wish.cpu_features.empty()),
      is_plain_(any_machine_ && wish.pinned_node.empty() && wish.group_node.empty() && !wish.needs_overlay &&
                wish.excluded_nodes.empty() && wish.way != BootWay::pool && !wish.needs_rootfs && !wish.needs_snapshot),
      features_(wish.cpu_features) {
  std::sort(features_.begin(), features_.end());
  if (!any_machine_) machine_obstacles_.assign(view.machines(), kNotLookedAt);
}

Obstacle Filter::machine_obstacle(const NodeView& node) {
  if (any_machine_) return {};
  auto& known = machine_obstacles_[node.machine];
  if (known == kNotLookedAt) {
    const auto& machine = view_.machine(node);
    auto kind = ObstacleKind::none;
    if (!wish_.vmm.empty() && !has(machine.vmms, wish_.vmm))
      kind = ObstacleKind::vmm;
    else if (!std::includes(machine.cpu_features.begin(), machine.cpu_features.end(), features_.begin(),
                            features_.end()))
      kind = ObstacleKind::cpu_features;
    known = static_cast<std::uint8_t>(kind);
  }
  return {.kind = static_cast<ObstacleKind>(known)};
}

const PoolShare* Filter::pool_of(const NodeView& node) const {
  const bool may_take = wish_.way == BootWay::automatic || wish_.way == BootWay::pool;
  if (!may_take || node.reported.pools.empty()) return nullptr;
  const auto pool = node.reported.pools.find(wish_.template_key);
  if (pool == node.reported.pools.end() || pool->second.ready == 0) return nullptr;
  const auto& each = pool->second.each;
  const auto& wanted = wish_.resources;
  const bool is_of_the_size =
      each.vcpu == wanted.vcpu && each.memory_mb == wanted.memory_mb && each.disk_mb == wanted.disk_mb;
  return is_of_the_size ? &pool->second : nullptr;
}

Warmth Filter::warmth(const NodeView& node) const {
  if (pool_of(node)) return Warmth::pool;
  const bool may_restore = wish_.way != BootWay::cold && !wish_.snapshot_key.empty();
  if (may_restore && has(node.reported.snapshots, wish_.snapshot_key)) return Warmth::snapshot;
  return !wish_.rootfs_identity.empty() && has(node.reported.rootfs, wish_.rootfs_identity) ? Warmth::rootfs
                                                                                            : Warmth::nothing;
}

Obstacle Filter::lasting_obstacle(const NodeView& node) {
  const bool is_elsewhere = (!wish_.pinned_node.empty() && wish_.pinned_node != node.id) ||
                            (!wish_.group_node.empty() && wish_.group_node != node.id);
  if (is_elsewhere) return {.kind = ObstacleKind::elsewhere};
  if (const auto machine = machine_obstacle(node)) return machine;
  if (wish_.needs_overlay && !node.reported.has_overlay) return {.kind = ObstacleKind::overlay};
  if (const auto bits = shortage(node.limit, {}, wish_.resources); bits != 0)
    return {.kind = ObstacleKind::too_small, .short_of = bits};
  return {};
}

Obstacle Filter::obstacle(const NodeView& node) {
  const auto lasting = lasting_obstacle(node);
  if (lasting.kind == ObstacleKind::elsewhere) return lasting;
  const auto& excluded = wish_.excluded_nodes;
  if (std::find(excluded.begin(), excluded.end(), node.id) != excluded.end()) return {.kind = ObstacleKind::excluded};
  if (node.state == NodeState::lost) return {.kind = ObstacleKind::lost};
  if (node.state == NodeState::unready) return {.kind = ObstacleKind::unready};
  if (node.state == NodeState::draining) return {.kind = ObstacleKind::draining};
  if (node.cordoned && wish_.pinned_node.empty()) return {.kind = ObstacleKind::cordoned};
  if (lasting) return lasting;
  const bool has_room = shortage(node.limit, node.occupied, wish_.resources) == 0;
  const bool needs_anything = wish_.way == BootWay::pool || wish_.needs_rootfs || wish_.needs_snapshot;
  if (has_room && !needs_anything) return {};
  const auto* const pool = pool_of(node);
  // Who is given a member needs neither of the others.
  if (!pool) {
    if (wish_.way == BootWay::pool) return {.kind = ObstacleKind::pool};
    if (wish_.needs_rootfs && !has(node.reported.rootfs, wish_.rootfs_identity)) return {.kind = ObstacleKind::rootfs};
    if (wish_.needs_snapshot && !has(node.reported.snapshots, wish_.snapshot_key))
      return {.kind = ObstacleKind::snapshot};
  }
  const auto bits = shortage(node.limit, pool ? node.occupied - pool->each : node.occupied, wish_.resources);
  return bits == 0 ? Obstacle{} : Obstacle{.kind = ObstacleKind::full, .short_of = bits};
}

bool Filter::fits(const NodeView& node) {
  if (node.state != NodeState::ready) return false;
  if (shortage(node.limit, node.occupied, wish_.resources) != 0) {
    // Numbers first: to look for a member by its key costs ten times as much.
    if (shortage(node.limit, node.occupied - node.pooled, wish_.resources) != 0) return false;
    const auto* const pool = pool_of(node);
    if (!pool || shortage(node.limit, node.occupied - pool->each, wish_.resources) != 0) return false;
  }
  if (is_plain_) return !node.cordoned;
  return !obstacle(node);
}

}  // namespace nanobox
