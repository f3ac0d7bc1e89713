#include <algorithm>

#include "actors/cluster/sandbox_directory_steps.hpp"
#include "config/log.hpp"
#include "pipeline/cluster/lineage/lineage_artifacts.hpp"
#include "pipeline/cluster/placement/placement.hpp"

namespace nanobox {

namespace {

using Self = SandboxDirectorySelf;
using Node = SandboxDirectoryState::Node;

constexpr std::chrono::minutes kFetchDeadline{61};
constexpr std::chrono::seconds kShort{100};
constexpr std::size_t kCopyingAtOnce = 2;
constexpr std::chrono::seconds kCopyAgain{30};

bool is_paused_as(const Sandbox& sandbox, const std::string& saved) {
  return sandbox.status == SandboxStatus::paused && saved_name(sandbox) == saved;
}

/// Whole ones on nodes that are there.
std::size_t copies_of(Self self, const std::string& id) {
  const auto copies = self->state.copies.find(id);
  if (copies == self->state.copies.end()) return 0;
  return static_cast<std::size_t>(std::ranges::count_if(
      copies->second.nodes, [&](const auto& node) { return connected_node(self, node) != nullptr; }));
}

void copy_made(Self self, const std::string& id, const std::string& saved, const std::string& node_id) {
  auto& state = self->state;
  const auto sandbox = state.sandboxes.find(id);
  if (sandbox == state.sandboxes.end() || !is_paused_as(sandbox->second, saved)) return drop_on(self, node_id, saved);
  auto& copies = state.copies[id];
  copies.saved = saved;
  copies.nodes.insert(node_id);
  state.uncopied.insert(id);  // there may be more to make
  flush_soon(self, id);
}

/// @returns false: no node can take it now
bool copy(Self self, const Sandbox& sandbox) {
  auto& state = self->state;
  auto excluded = not_for(self, sandbox);
  if (const auto copies = state.copies.find(sandbox.id); copies != state.copies.end())
    excluded.insert(excluded.end(), copies->second.nodes.begin(), copies->second.nodes.end());
  const auto target = choose_for(self, sandbox, {}, std::move(excluded), {});
  if (!target) return false;
  ++state.copying;
  const auto saved = saved_name(sandbox);
  self->request(state.nodes.at(*target).session, kFetchDeadline, fetch_atom_v, state_offer(self, sandbox))
      .then(
          [self, id = sandbox.id, saved, target = *target] {
            --self->state.copying;
            copy_made(self, id, saved, target);
          },
          [self, id = sandbox.id](caf::error& error) {
            --self->state.copying;
            log_warn(LogComponent::cluster, {{"sandbox", id}}, "{}",
                     describe(from_caf(error, "copy its saved state to another node")));
            self->state.uncopied.insert(id);
            self->state.copy_again[id] = self->clock().now() + kCopyAgain;
          });
  return true;
}

}  // namespace

void look_after_copies(Self self) {
  auto& state = self->state;
  const auto wanted = state.control->snapshot_replicas;
  if (wanted == 0 || state.nodes.size() < 2) return;
  for (auto next = state.uncopied.begin(); next != state.uncopied.end() && state.copying < kCopyingAtOnce;) {
    const auto sandbox = state.sandboxes.find(*next);
    const bool wants = sandbox != state.sandboxes.end() && sandbox->second.status == SandboxStatus::paused &&
                       copies_of(self, *next) < wanted;
    if (!wants) {
      next = state.uncopied.erase(next);
      continue;
    }
    const auto again = state.copy_again.find(*next);
    const bool is_too_soon = again != state.copy_again.end() && self->clock().now() < again->second;
    if (is_too_soon || !node_of(self, sandbox->second) || !copy(self, sandbox->second)) {
      ++next;
      continue;
    }
    next = state.uncopied.erase(next);
  }
}

void copies_arrived(Self self, const std::string& node_id, const std::vector<std::string>& kept_states,
                    const std::set<std::string>& there) {
  auto& state = self->state;
  std::set<std::string> held;
  for (const auto& saved : kept_states) {
    const auto id = sandbox_of_saved(saved);
    const auto sandbox = state.sandboxes.find(id);
    const bool is_of_use =
        sandbox != state.sandboxes.end() && saved_name(sandbox->second) == saved &&
        (sandbox->second.status == SandboxStatus::paused || sandbox->second.status == SandboxStatus::resuming);
    if (is_of_use) {
      if (sandbox->second.node_id != node_id) {
        auto& copies = state.copies[id];
        copies.saved = saved;
        copies.nodes.insert(node_id);
        held.insert(id);
        continue;
      }
      if (!there.contains(id)) {  // it is its own now, which it was not told any more
        state.unadopted.insert(id);
        show(self, sandbox->second);
        continue;
      }
    }
    if (!state.exported.contains(saved)) drop_on(self, node_id, saved);
  }
  for (auto& [id, copies] : state.copies)
    if (!held.contains(id) && copies.nodes.erase(node_id) != 0) {
      state.uncopied.insert(id);
      flush_soon(self, id);
    }
  for (const auto& [id, sandbox] : state.sandboxes)
    if (sandbox.status == SandboxStatus::paused) state.uncopied.insert(id);  // here is a node that could have a copy
}

void drop_on(Self self, const std::string& node_id, const std::string& saved) {
  const auto* node = connected_node(self, node_id);
  if (!node) return;
  self->request(node->session, kShort, undo_atom_v, saved)
      .then([] {},
            [](caf::error& error) {
              log_warn(LogComponent::cluster, {}, "{}", describe(from_caf(error, "drop a saved state")));
            });
}

void drop_copies(Self self, const std::string& id) {
  auto& state = self->state;
  auto copies = state.copies.extract(id);
  state.uncopied.erase(id);
  state.copy_again.erase(id);
  if (const auto sandbox = state.sandboxes.find(id); state.unadopted.erase(id) != 0 && sandbox != state.sandboxes.end())
    drop_on(self, sandbox->second.node_id, saved_name(sandbox->second));
  if (copies.empty()) return;
  for (const auto& node_id : copies.mapped().nodes) drop_on(self, node_id, copies.mapped().saved);
  flush_soon(self, id);
}

std::string copy_holder(Self self, const Sandbox& sandbox) {
  auto& state = self->state;
  const auto copies = state.copies.find(sandbox.id);
  if (copies == state.copies.end() || !is_paused_as(sandbox, copies->second.saved)) return {};
  std::string cordoned;
  for (const auto& node_id : copies->second.nodes) {
    const auto* node = connected_node(self, node_id);
    if (!node) continue;
    if (!node->status.cordoned) return node_id;
    cordoned = node_id;
  }
  return cordoned;
}

std::vector<std::string> not_for(Self self, const Sandbox& sandbox) {
  std::vector<std::string> nodes{sandbox.node_id};
  const auto left = self->state.left_with.find(sandbox.id);
  if (left != self->state.left_with.end()) nodes.insert(nodes.end(), left->second.begin(), left->second.end());
  return nodes;
}

StateOffer state_offer(Self self, const Sandbox& sandbox) {
  StateOffer offer{.state = sandbox, .sources = {}};
  const auto add = [&](const Node& node) {
    if (node.connected && !node.status.data_addr.empty()) offer.sources.push_back(node.status.data_addr);
  };
  if (const auto* home = node_of(self, sandbox)) add(*home);
  for (const auto& [node_id, node] : self->state.nodes)
    if (node_id != sandbox.node_id) add(node);
  return offer;
}

Result<std::string> choose_for(Self self, const Sandbox& sandbox, const Amounts& resources,
                               std::vector<std::string> excluded, const GroupPlace& group) {
  auto& state = self->state;
  const auto home = state.nodes.find(sandbox.node_id);
  const auto machine = home == state.nodes.end() ? std::string() : home->second.status.machine;
  const Wish wish{.owner = sandbox.owner,
                  .template_key = {},
                  .rootfs_identity = sandbox.rootfs_identity,
                  .snapshot_key = {},
                  .resources = resources,
                  .vmm = {},
                  .cpu_features = {machine},
                  .pinned_node = {},
                  .group_node = group.node,
                  .needs_overlay = group.needs_overlay,
                  .excluded_nodes = std::move(excluded)};
  return NANOBOX_TRY(place(state.view, wish, state.random)).node_id;
}

}  // namespace nanobox
