#include "pipeline/cluster/placement/cluster_view.hpp"

#include <algorithm>

namespace nanobox {
namespace {

using Slot = ClusterView::Slot;

void enter(std::vector<Slot>& list, Slot slot) {
  const auto at = std::lower_bound(list.begin(), list.end(), slot);
  if (at == list.end() || *at != slot) list.insert(at, slot);
}

void strike(std::vector<Slot>& list, Slot slot) {
  const auto at = std::lower_bound(list.begin(), list.end(), slot);
  if (at != list.end() && *at == slot) list.erase(at);
}

template <class Index>
void strike(Index& index, const std::string& key, Slot slot) {
  const auto entry = index.find(key);
  if (entry == index.end()) return;
  strike(entry->second, slot);
  if (entry->second.empty()) index.erase(entry);
}

/// Lists `slot` where `now` has a key that `before` had not, and the reverse. Both are sorted.
template <class Index>
void relist(Index& index, Slot slot, const std::vector<std::string>& before, const std::vector<std::string>& now) {
  for (const auto& key : before)
    if (!std::binary_search(now.begin(), now.end(), key)) strike(index, key, slot);
  for (const auto& key : now)
    if (!std::binary_search(before.begin(), before.end(), key)) enter(index[key], slot);
}

std::vector<std::string> ready_pools(const NodeView& node) {
  std::vector<std::string> keys;
  for (const auto& [key, pool] : node.reported.pools)
    if (pool.ready > 0) keys.push_back(key);
  return keys;
}

/// Sorted, each once; the empty name is none.
void sort_once(std::vector<std::string>& texts) {
  std::sort(texts.begin(), texts.end());
  std::erase(texts, "");
  texts.erase(std::unique(texts.begin(), texts.end()), texts.end());
}

void sum_up(NodeView& node) {
  node.occupied = node.used + node.reserved + node.pooled + node.reported.outside;
}

Error unknown_node(std::string attempted, std::string_view node_id) {
  return {.code = ErrorCode::node_not_found,
          .attempted = std::move(attempted),
          .subject = std::string(node_id),
          .reason = "the cluster has no such node",
          .mend = "see GET /nodes"};
}

Error no_room(const NodeView& node, std::string reason) {
  return {.code = ErrorCode::no_capacity,
          .attempted = "reserve a share of a node",
          .subject = node.id,
          .reason = std::move(reason),
          .mend = "place it anew",
          .transient = true,
          .retry_after_sec = 1};
}

/// What a share of a reservation that is not asked for can be at most: sums of it do not wrap.
Amounts bounded(Amounts amounts) {
  constexpr std::uint64_t kLargest = 1'000'000'000'000;
  return {.vcpu = std::min(amounts.vcpu, kLargest),
          .memory_mb = std::min(amounts.memory_mb, kLargest),
          .disk_mb = std::min(amounts.disk_mb, kLargest),
          .addresses = std::min(amounts.addresses, kLargest)};
}

}  // namespace

std::string_view to_string(NodeState state) {
  switch (state) {
    case NodeState::ready:
      return "ready";
    case NodeState::unready:
      return "unready";
    case NodeState::draining:
      return "draining";
    case NodeState::lost:
      return "lost";
  }
  return "unknown";
}

double load_of(const NodeView& node, const Amounts& more) {
  const auto part = [](std::uint64_t taken, std::uint64_t added, std::uint64_t of) {
    if (of == 0) return taken + added == 0 ? 0.0 : 1.0;
    return (static_cast<double>(taken) + static_cast<double>(added)) / static_cast<double>(of);
  };
  return std::max({part(node.occupied.vcpu, more.vcpu, node.limit.vcpu),
                   part(node.occupied.memory_mb, more.memory_mb, node.limit.memory_mb),
                   part(node.occupied.disk_mb, more.disk_mb, node.limit.disk_mb)});
}

void ClusterView::report(NodeReport report) {
  for (auto* texts : {&report.vmms, &report.cpu_features, &report.rootfs, &report.snapshots}) sort_once(*texts);
  const auto [known, is_new] = slots_.try_emplace(report.node_id, static_cast<Slot>(nodes_.size()));
  const Slot slot = known->second;
  if (is_new) {
    auto& node = nodes_.emplace_back();
    node.id = report.node_id;
    node.machine = enter_machine({});
    index_open(slot);
  }
  auto& node = nodes_[slot];
  if (is_new || node.reported.vmms != report.vmms || node.reported.cpu_features != report.cpu_features) {
    --machines_[node.machine].nodes;
    node.machine = enter_machine({.vmms = report.vmms, .cpu_features = report.cpu_features});
  }
  node.limit = limit_of(report.capacity, report.overcommit);
  node.pooled = {};
  for (auto& [key, pool] : report.pools) {
    node.pooled += pool.each * pool.ready;
    // The heartbeat may be older than a take on its way: its member is not given twice, and is counted twice rather
    // than not at all.
    if (const auto takes = node.takes_on_their_way.find(key); takes != node.takes_on_their_way.end())
      pool.ready -= std::min(pool.ready, takes->second);
  }
  relist(with_rootfs_, slot, node.reported.rootfs, report.rootfs);
  relist(with_snapshot_, slot, node.reported.snapshots, report.snapshots);
  const auto pools_before = ready_pools(node);
  node.reported = std::move(report);
  relist(with_pool_, slot, pools_before, ready_pools(node));
  sum_up(node);
}

Result<void> ClusterView::set_state(std::string_view node_id, NodeState state) {
  auto* const node = node_of(node_id);
  if (!node) return fail(unknown_node("change a node's state", node_id));
  node->state = state;
  index_open(static_cast<Slot>(node - nodes_.data()));
  return {};
}

Result<void> ClusterView::set_cordoned(std::string_view node_id, bool cordoned) {
  auto* const node = node_of(node_id);
  if (!node) return fail(unknown_node("cordon a node", node_id));
  node->cordoned = cordoned;
  index_open(static_cast<Slot>(node - nodes_.data()));
  return {};
}

std::vector<std::string> ClusterView::remove(std::string_view node_id) {
  const auto known = slots_.find(node_id);
  if (known == slots_.end()) return {};
  auto gone = sandboxes_on(node_id);
  for (const auto& id : gone) shares_.erase(id);
  const Slot slot = known->second, last = static_cast<Slot>(nodes_.size() - 1);
  slots_.erase(known);
  unindex(slot);
  --machines_[nodes_[slot].machine].nodes;
  if (slot != last) {
    unindex(last);
    nodes_[slot] = std::move(nodes_[last]);
    slots_.find(nodes_[slot].id)->second = slot;
  }
  nodes_.pop_back();
  if (slot != last) index(slot);
  return gone;
}

Result<void> ClusterView::reserve(const Reservation& reservation) {
  if (const auto held = shares_.find(reservation.sandbox_id); held != shares_.end()) {
    const auto& share = held->second.reservation;
    if (share.node_id == reservation.node_id && share.resources == reservation.resources) return {};
    return fail({.code = ErrorCode::conflict,
                 .attempted = "reserve a share of a node",
                 .subject = reservation.sandbox_id,
                 .reason = "it has another one, of " + share.node_id,
                 .mend = "release that first"});
  }
  auto* const node = node_of(reservation.node_id);
  if (!node) return fail(unknown_node("reserve a share of a node", reservation.node_id));
  if (node->state != NodeState::ready) {
    auto error = no_room(*node, "it is " + std::string(to_string(node->state)));
    if (node->state == NodeState::lost) error.code = ErrorCode::node_lost;
    return fail(std::move(error));
  }
  const auto pool = node->reported.pools.find(reservation.from_pool);
  const bool takes = pool != node->reported.pools.end() && pool->second.ready > 0;
  const auto beside = takes ? node->occupied - pool->second.each : node->occupied;
  if (shortage(node->limit, beside, reservation.resources) != 0)
    return fail(no_room(*node, "it does not fit there any more"));
  auto& share = shares_[reservation.sandbox_id] = {.reservation = reservation};
  share.reservation.from_pool = takes ? reservation.from_pool : "";
  if (takes) take_member(*node, reservation.from_pool);
  node->reserved += reservation.resources;
  ++node->sandboxes_by_owner[reservation.owner];
  sum_up(*node);
  return {};
}

Result<void> ClusterView::confirm(std::string_view sandbox_id) {
  const auto held = shares_.find(sandbox_id);
  if (held == shares_.end())
    return fail({.code = ErrorCode::sandbox_not_found,
                 .attempted = "confirm a share of a node",
                 .subject = std::string(sandbox_id),
                 .reason = "it has none: it was released, or its node was removed",
                 .mend = "end it, or place it anew"});
  auto& share = held->second;
  if (share.confirmed) return {};
  give_back(share);
  share.confirmed = true;
  auto& node = *node_of(share.reservation.node_id);
  node.used += share.reservation.resources;
  ++node.sandboxes_by_owner[share.reservation.owner];
  sum_up(node);
  return {};
}

void ClusterView::release(std::string_view sandbox_id) {
  const auto held = shares_.find(sandbox_id);
  if (held == shares_.end()) return;
  give_back(held->second);
  shares_.erase(held);
}

Result<void> ClusterView::adopt(Reservation reservation) {
  auto* const node = node_of(reservation.node_id);
  if (!node) return fail(unknown_node("adopt a sandbox", reservation.node_id));
  release(reservation.sandbox_id);
  reservation.resources = bounded(reservation.resources);
  reservation.from_pool.clear();
  node->used += reservation.resources;
  ++node->sandboxes_by_owner[reservation.owner];
  sum_up(*node);
  auto id = reservation.sandbox_id;
  shares_[std::move(id)] = {.reservation = std::move(reservation), .confirmed = true};
  return {};
}

const Reservation* ClusterView::find_share(std::string_view sandbox_id) const {
  const auto held = shares_.find(sandbox_id);
  return held == shares_.end() ? nullptr : &held->second.reservation;
}

std::vector<std::string> ClusterView::sandboxes_on(std::string_view node_id) const {
  std::vector<std::string> ids;
  for (const auto& [id, share] : shares_)
    if (share.reservation.node_id == node_id) ids.push_back(id);
  std::sort(ids.begin(), ids.end());
  return ids;
}

const NodeView* ClusterView::find(std::string_view node_id) const {
  const auto known = slots_.find(node_id);
  return known == slots_.end() ? nullptr : &nodes_[known->second];
}

NodeView* ClusterView::node_of(std::string_view node_id) {
  const auto known = slots_.find(node_id);
  return known == slots_.end() ? nullptr : &nodes_[known->second];
}

std::span<const Slot> ClusterView::listed(const Index& index, std::string_view key) {
  const auto entry = index.find(key);
  if (entry == index.end()) return {};
  return entry->second;
}

std::uint32_t ClusterView::enter_machine(MachineKind kind) {
  auto at = std::find_if(machines_.begin(), machines_.end(),
                         [&](const Machine& machine) { return machine.nodes > 0 && machine.kind == kind; });
  if (at == machines_.end())
    at = std::find_if(machines_.begin(), machines_.end(), [](const Machine& machine) { return machine.nodes == 0; });
  if (at == machines_.end()) at = machines_.insert(machines_.end(), Machine{});
  if (at->nodes == 0) at->kind = std::move(kind);
  ++at->nodes;
  return static_cast<std::uint32_t>(at - machines_.begin());
}

void ClusterView::index(Slot slot) {
  const auto& node = nodes_[slot];
  for (const auto& identity : node.reported.rootfs) enter(with_rootfs_[identity], slot);
  for (const auto& key : node.reported.snapshots) enter(with_snapshot_[key], slot);
  for (const auto& key : ready_pools(node)) enter(with_pool_[key], slot);
  index_open(slot);
}

void ClusterView::unindex(Slot slot) {
  const auto& node = nodes_[slot];
  for (const auto& identity : node.reported.rootfs) strike(with_rootfs_, identity, slot);
  for (const auto& key : node.reported.snapshots) strike(with_snapshot_, key, slot);
  for (const auto& key : ready_pools(node)) strike(with_pool_, key, slot);
  strike(open_, slot);
}

void ClusterView::index_open(Slot slot) {
  if (nodes_[slot].state == NodeState::ready && !nodes_[slot].cordoned)
    enter(open_, slot);
  else
    strike(open_, slot);
}

void ClusterView::take_member(NodeView& node, const std::string& template_key) {
  auto& pool = node.reported.pools.at(template_key);
  node.pooled -= pool.each;
  ++node.takes_on_their_way[template_key];
  if (--pool.ready == 0) strike(with_pool_, template_key, static_cast<Slot>(&node - nodes_.data()));
}

void ClusterView::give_back(const Share& share) {
  const auto& reservation = share.reservation;
  auto& node = *node_of(reservation.node_id);
  (share.confirmed ? node.used : node.reserved) -= reservation.resources;
  if (const auto owner = node.sandboxes_by_owner.find(reservation.owner); --owner->second == 0)
    node.sandboxes_by_owner.erase(owner);
  // The member itself is gone until a heartbeat says otherwise: its boot may have used it up.
  if (!share.confirmed && !reservation.from_pool.empty())
    if (const auto takes = node.takes_on_their_way.find(reservation.from_pool); --takes->second == 0)
      node.takes_on_their_way.erase(takes);
  sum_up(node);
}

}  // namespace nanobox
