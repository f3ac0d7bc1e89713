#include "actors/cluster/network_directory.hpp"

namespace nanobox {

namespace {

using Self = NetworkDirectoryActor::stateful_pointer<NetworkDirectoryState>;

void flush_soon(Self self) {
  if (!std::exchange(self->state.flushing, true)) self->send(self, flush_atom_v);
}

std::vector<OverlayPeer> peers_for(Self self, const std::string& node_id) {
  std::vector<OverlayPeer> peers;
  for (const auto& node : self->state.control->boards->nodes.all()) {
    const auto address = parse_ipv4(node->overlay_addr);
    if (node->node_id == node_id || !address) continue;
    OverlayPeer peer{.address = *address, .parts = {}};
    for (const auto& text : node->subnet_parts)
      if (const auto part = parse_subnet(text)) peer.parts.push_back(*part);
    peers.push_back(std::move(peer));
  }
  return peers;
}

/// All that a node is to know, at the beginning of a connection.
void tell_all(Self self, const std::string& node_id) {
  auto& node = self->state.nodes.at(node_id);
  RemoteNetworks told{.whole = true, .peers = peers_for(self, node_id), .groups = {}};
  node.told.clear();
  for (const auto& group : self->state.members.groups_on(node_id)) {
    auto elsewhere = self->state.members.elsewhere(group, node_id);
    if (elsewhere.empty()) continue;
    node.told.insert(group);
    told.groups.push_back({.name = group, .members = std::move(elsewhere)});
  }
  self->send(node.session, network_atom_v, std::move(told));
}

void tell_changes(Self self) {
  auto& state = self->state;
  state.flushing = false;
  const auto changed = std::exchange(state.changed, {});
  const bool peers_changed = std::exchange(state.peers_changed, false);
  for (auto& [node_id, node] : state.nodes) {
    RemoteNetworks told;
    for (const auto& group : changed) {
      auto elsewhere =
          state.members.is_on(group, node_id) ? state.members.elsewhere(group, node_id) : std::vector<RemoteMember>{};
      if (elsewhere.empty() && node.told.erase(group) == 0) continue;
      if (!elsewhere.empty()) node.told.insert(group);
      told.groups.push_back({.name = group, .members = std::move(elsewhere)});
    }
    if (told.groups.empty() && !peers_changed) continue;
    told.peers = peers_for(self, node_id);
    self->send(node.session, network_atom_v, std::move(told));
  }
}

void look_at(Self self, const std::string& sandbox_id) {
  auto& state = self->state;
  const auto sandbox = state.control->boards->sandboxes.find(sandbox_id);
  const auto groups = sandbox ? state.members.put(*sandbox) : state.members.remove(sandbox_id);
  if (groups.empty()) return;
  state.changed.insert(groups.begin(), groups.end());
  flush_soon(self);
}

void watch_boards(Self self) {
  auto& state = self->state;
  const auto& boards = *state.control->boards;
  const auto address = self->address();
  state.sandboxes = state.control->boards->sandboxes.watch_all([address](const std::string& id, const auto&) {
    if (const auto actor = caf::actor_cast<NetworkDirectoryActor>(address)) caf::anon_send(actor, network_atom_v, id);
  });
  // What the peers need to know of a node, as it was seen last: most that is published of one is only its heartbeat.
  state.statuses = state.control->boards->nodes.watch_all(
      [address, seen = std::map<std::string, std::pair<std::string, std::vector<std::string>>>()](
          const std::string& id, const auto& node) mutable {
        const auto now = node ? std::pair(node->overlay_addr, node->subnet_parts)
                              : std::pair(std::string(), std::vector<std::string>());
        if (std::exchange(seen[id], now) == now) return;
        if (!node) seen.erase(id);
        if (const auto actor = caf::actor_cast<NetworkDirectoryActor>(address)) caf::anon_send(actor, node_atom_v, id);
      });
  for (const auto& sandbox : boards.sandboxes.all()) state.members.put(*sandbox);
}

}  // namespace

NetworkDirectoryActor::behavior_type network_directory(Self self, SharedControl control) {
  self->state.control = std::move(control);
  watch_boards(self);
  return {
      [self](hello_atom, const NodeStatus& node, const NodeSessionActor& session) {
        self->state.nodes[node.node_id] = {.session = session, .epoch = node.epoch, .told = {}};
        tell_all(self, node.node_id);
      },
      [self](lost_atom, const std::string& node_id, std::uint64_t epoch, const std::string&) {
        const auto node = self->state.nodes.find(node_id);
        if (node != self->state.nodes.end() && node->second.epoch == epoch) self->state.nodes.erase(node);
      },
      [self](network_atom, const std::string& sandbox_id) { look_at(self, sandbox_id); },
      [self](node_atom, const std::string&) {
        self->state.peers_changed = true;
        flush_soon(self);
      },
      [self](flush_atom) { tell_changes(self); },
  };
}

}  // namespace nanobox
