#include "actors/cluster/node_registry.hpp"

#include <algorithm>
#include <set>

#include "actors/cluster/node_session.hpp"
#include "config/log.hpp"
#include "pipeline/boot/network/subnet.hpp"
#include "pipeline/cluster/subnet_parts.hpp"

namespace nanobox {

namespace {

using Self = NodeRegistryActor::stateful_pointer<NodeRegistryState>;
constexpr std::chrono::seconds kHelloDeadline{20};

Error unknown_node(const std::string& id) {
  return {.code = ErrorCode::node_not_found,
          .attempted = "find node",
          .subject = id,
          .reason = "there is none of that id",
          .mend = "GET /api/v1/nodes lists them"};
}

NodeState state_of(const NodeStatus& node, bool connected) {
  if (!connected) return NodeState::lost;
  if (node.draining) return NodeState::draining;
  return node.beat.ready ? NodeState::ready : NodeState::unready;
}

/// The board, and who places by it.
void tell(Self self, NodeStatus node, bool connected) {
  auto& state = self->state;
  node.state = state_of(node, connected);
  if (connected) node.reason = node.beat.ready ? "" : node.beat.reason;
  const auto before = state.control->boards->nodes.find(node.node_id);
  const bool changes = !before || before->state != node.state || before->cordoned != node.cordoned ||
                       before->draining != node.draining || before->drain_until != node.drain_until ||
                       before->epoch != node.epoch || before->capacity != node.capacity;
  state.control->boards->nodes.publish(node.node_id, node);
  self->send(state.templates, node_atom_v, node);
  if (changes) self->send(state.sandboxes, node_atom_v, std::move(node));
}

Result<void> store(Self self, const NodeStatus& node) {
  NANOBOX_TRY(put_record(*self->state.control->store, kNodeKind, node.node_id, "", to_record(node)));
  return {};
}

std::set<std::string> taken_parts(const ControlServices& control) {
  std::set<std::string> taken;
  for (const auto& node : control.boards->nodes.all())
    taken.insert(node->subnet_parts.begin(), node->subnet_parts.end());
  return taken;
}

/// A node gets another part of the subnet before it runs out of addresses, once it has taken the last one over.
void provide_addresses(Self self, NodeStatus& node, const NodeSessionActor& session) {
  auto& state = self->state;
  std::uint32_t given = 0;
  for (const auto& text : node.subnet_parts)
    if (const auto part = parse_subnet(text)) given += sandbox_addresses(*part);
  const auto& beat = node.beat;
  if (beat.addresses == 0 || beat.addresses < given || !runs_low(beat.addresses_free, beat.addresses)) {
    state.denied.erase(node.node_id);
    return;
  }
  const auto part = free_subnet_part(state.control->subnet, taken_parts(*state.control));
  if (!part) {
    if (!state.denied.insert(node.node_id).second) return;
    log_warn(LogComponent::cluster, {{"node", node.node_id}}, "node {} runs out of addresses: {}", node.node_id,
             describe(part.error()));
    return self->send(session, address_atom_v, node.subnet_parts, false);
  }
  auto grown = node;
  grown.subnet_parts.push_back(to_string(*part));
  if (auto stored = store(self, grown); !stored)
    return log_error(LogComponent::cluster, {{"node", grown.node_id}}, "{}", describe(stored.error()));
  node = std::move(grown);
  log_info(LogComponent::cluster, {{"node", node.node_id}}, "node {} gets {} too: {} of {} addresses are free",
           node.node_id, to_string(*part), beat.addresses_free, beat.addresses);
  self->send(session, address_atom_v, node.subnet_parts, true);
}

/// Where the node may be a peer of the others: not where another node is.
std::string own_overlay_addr(const ControlServices& control, const NodeHello& hello) {
  if (hello.overlay_addr.empty()) return {};
  for (const auto& other : control.boards->nodes.all())
    if (other->node_id != hello.node_id && other->overlay_addr == hello.overlay_addr) {
      log_error(LogComponent::cluster, {{"node", hello.node_id}}, "node {} has no overlay: its address {} is node {}'s",
                hello.node_id, hello.overlay_addr, other->node_id);
      return {};
    }
  return parse_ipv4(hello.overlay_addr) ? hello.overlay_addr : "";
}

/// At the beginning of a connection.
void tell_parts(Self self, const NodeStatus& node, const NodeSessionActor& session) {
  const auto& control = *self->state.control;
  auto taken = taken_parts(control);
  taken.insert(node.subnet_parts.begin(), node.subnet_parts.end());
  const bool may_grow = free_subnet_part(control.subnet, taken).has_value();
  self->send(session, address_atom_v, node.subnet_parts, may_grow);
}

caf::result<Admission> let_in(Self self, NodeHello& hello, const NodeFaceActor& face) {
  auto& state = self->state;
  if (hello.protocol != kClusterProtocol)
    return to_caf({.code = ErrorCode::version_incompatible,
                   .attempted = "let node in",
                   .subject = hello.node_id,
                   .reason = "it is version " + hello.version + " and speaks protocol " +
                             std::to_string(hello.protocol) + ", the control plane is version " +
                             state.control->version + " and speaks " + std::to_string(kClusterProtocol),
                   .mend = "run the same version on both"});
  const bool local = hello.node_id == state.control->local_node_id;
  const auto known = state.control->boards->nodes.find(hello.node_id);
  if (!known && !local)
    return to_caf({.code = ErrorCode::token_invalid,
                   .attempted = "let node in",
                   .subject = hello.node_id,
                   .reason = "it is none of this cluster's: it never joined, or was removed",
                   .mend = "remove DATA/identity on the node and join anew with a token of nanobox node token"});
  if (const auto open = state.connections.find(hello.node_id); open != state.connections.end()) {
    if (open->second.incarnation != hello.incarnation)
      return to_caf({.code = ErrorCode::node_exists,
                     .attempted = "let node in",
                     .subject = hello.node_id,
                     .reason = "another daemon is connected under that node id, or was until a moment ago",
                     .mend = "give each node an id of its own ([agent] node_id) and a data folder of its own",
                     .transient = true});
    // The same daemon: its former connection is dead, whether or not that has shown.
    self->send(open->second.session, lost_atom_v, std::string("it has connected anew"));
    state.connections.erase(open);
  }
  NodeStatus node = known ? *known : NodeStatus{};
  if (!known) node.joined_at = wall_now();
  node.node_id = hello.node_id;
  node.epoch = std::max(node.epoch, hello.epoch) + 1;
  node.version = hello.version;
  node.vmm = hello.vmm;
  node.machine = hello.machine;
  node.data_addr = hello.data_addr;
  node.capacity = hello.capacity;
  // The control plane's own node finds its part itself; what it got later is here.
  if (local && (node.subnet_parts.empty() || hello.subnet_parts.empty() ||
                node.subnet_parts.front() != hello.subnet_parts.front()))
    node.subnet_parts = hello.subnet_parts;
  node.overlay_addr = own_overlay_addr(*state.control, hello);
  node.pools = std::move(hello.pools);
  node.last_heartbeat_at = wall_now();
  node.beat = {};
  node.reason.clear();
  node.state = state_of(node, true);
  if (auto stored = store(self, node); !stored) return to_caf(stored.error());

  const auto session = self->spawn(node_session, node.node_id, node.epoch, face,
                                   SessionListeners{.nodes = NodeRegistryActor(self),
                                                    .sandboxes = NewsSinkActor(state.sandboxes),
                                                    .templates = NewsSinkActor(state.templates),
                                                    .boards = state.control->boards,
                                                    .template_makers = state.control->template_makers,
                                                    .is_local = local});
  self->monitor(session);
  state.sessions[session.address()] = session;
  state.connections[node.node_id] = {session, hello.incarnation, node.epoch};
  if (node.draining) self->send(session, drain_atom_v, true);
  self->send(state.guests, hello_atom_v, node, session);
  self->send(state.networks, hello_atom_v, node, session);
  tell_parts(self, node, session);
  auto promise = self->make_response_promise<Admission>();
  const auto refused = [self, promise, session](caf::error& error) mutable {
    self->send_exit(session, caf::exit_reason::user_shutdown);
    promise.deliver(std::move(error));
  };
  // Shown as ready once what it holds is known.
  const auto known_everywhere = [self, promise, session, node](std::vector<std::string>& given_up) mutable {
    const auto open = self->state.connections.find(node.node_id);
    if (open != self->state.connections.end() && open->second.epoch == node.epoch) tell(self, node, true);
    promise.deliver(Admission{
        .inbox = caf::actor_cast<NodeInboxActor>(session), .epoch = node.epoch, .given_up = std::move(given_up)});
  };
  self->request(state.templates, kHelloDeadline, hello_atom_v, node, session, hello.templates)
      .then(
          [self, node, session, refused, known_everywhere, sandboxes = std::move(hello.sandboxes),
           templates = hello.templates, kept = std::move(hello.kept_states)]() mutable {
            self->request(self->state.sandboxes, kHelloDeadline, hello_atom_v, node, session, std::move(sandboxes),
                          std::move(templates), std::move(kept))
                .then(known_everywhere, refused);
          },
          refused);
  return promise;
}

void lose(Self self, const std::string& node_id, std::uint64_t epoch, const std::string& reason) {
  auto& state = self->state;
  const auto open = state.connections.find(node_id);
  if (open == state.connections.end() || open->second.epoch != epoch) return;
  state.connections.erase(open);
  const auto known = state.control->boards->nodes.find(node_id);
  if (!known) return;
  NodeStatus node = *known;
  node.reason = reason;
  for (auto& pool : node.pools) pool.ready = 0;
  if (auto stored = store(self, node); !stored)
    log_error(LogComponent::cluster, {{"node", node_id}}, "{}", describe(stored.error()));
  tell(self, node, false);
  self->send(state.sandboxes, lost_atom_v, node_id, epoch, reason);
  self->send(state.guests, lost_atom_v, node_id, epoch, reason);
  self->send(state.networks, lost_atom_v, node_id, epoch, reason);
  self->send(state.templates, lost_atom_v, node_id, epoch, reason);
}

/// A session says its own end, unless somebody killed it.
void session_died(Self self, const caf::down_msg& down) {
  self->state.sessions.erase(down.source);
  for (const auto& [node_id, open] : self->state.connections)
    if (open.session.address() == down.source) {
      const auto id = node_id;
      const auto epoch = open.epoch;
      return lose(self, id, epoch, "its connection was ended");
    }
}

caf::result<NodeStatus> cordon(Self self, const std::string& node_id, bool cordoned, bool drains,
                               std::uint32_t deadline_sec) {
  auto& state = self->state;
  const auto known = state.control->boards->nodes.find(node_id);
  if (!known) return to_caf(unknown_node(node_id));
  NodeStatus node = *known;
  node.cordoned = cordoned;
  node.draining = drains;
  node.drain_until.reset();
  if (drains) node.drain_until = wall_now() + std::chrono::seconds(deadline_sec);
  if (auto stored = store(self, node); !stored) return to_caf(stored.error());
  const auto open = state.connections.find(node_id);
  tell(self, node, open != state.connections.end());
  if (open != state.connections.end()) self->send(open->second.session, drain_atom_v, drains);
  return *state.control->boards->nodes.find(node_id);
}

/// The node, if that is the connection it has now.
std::optional<NodeStatus> connected_node(Self self, const std::string& node_id, std::uint64_t epoch) {
  const auto open = self->state.connections.find(node_id);
  const auto known = self->state.control->boards->nodes.find(node_id);
  if (open == self->state.connections.end() || open->second.epoch != epoch || !known) return std::nullopt;
  return *known;
}

/// After one that died: its sessions ended with it, and the nodes are about to come in again.
void begin_anew(Self self) {
  for (const auto& known : self->state.control->boards->nodes.all()) {
    if (known->state == NodeState::lost) continue;
    NodeStatus node = *known;
    node.reason = "its connection was ended";
    tell(self, std::move(node), false);
  }
}

/// A node asks for a certificate. Its part of the subnet is its own until it is removed.
Result<NodeStatus> join(Self self, const std::string& node_id, const std::string& key_digest) {
  auto& state = self->state;
  const auto known = state.control->boards->nodes.find(node_id);
  if (node_id == state.control->local_node_id || (known && known->key_digest != key_digest))
    return fail(
        {.code = ErrorCode::node_exists,
         .attempted = "let a node join",
         .subject = node_id,
         .reason = "another node has that id",
         .mend = "give it another one ([agent] node_id), or remove the other: DELETE /api/v1/nodes/" + node_id});
  if (known) return *known;
  NodeStatus node;
  node.node_id = node_id;
  node.key_digest = key_digest;
  node.joined_at = wall_now();
  node.reason = "it has not connected yet";
  node.subnet_parts = {to_string(NANOBOX_TRY(free_subnet_part(state.control->subnet, taken_parts(*state.control))))};
  NANOBOX_TRY(store(self, node));
  tell(self, node, false);
  return node;
}

}  // namespace

NodeRegistryActor::behavior_type node_registry(Self self, SharedControl control, SandboxDirectoryActor sandboxes,
                                               TemplateDirectoryActor templates, GuestRouterActor guests,
                                               NetworkDirectoryActor networks) {
  auto& state = self->state;
  state.control = std::move(control);
  state.sandboxes = std::move(sandboxes);
  state.templates = std::move(templates);
  state.guests = std::move(guests);
  state.networks = std::move(networks);
  self->set_down_handler([self](const caf::down_msg& down) { session_died(self, down); });
  self->set_exit_handler([self](const caf::exit_msg& exit) {
    for (const auto& [address, session] : self->state.sessions) self->send_exit(session, exit.reason);
    self->quit(exit.reason);
  });
  begin_anew(self);
  return {
      [self](hello_atom, NodeHello& hello, const NodeFaceActor& face) { return let_in(self, hello, face); },
      [self](beat_atom, const std::string& node_id, std::uint64_t epoch, const NodeBeat& beat) {
        auto known = connected_node(self, node_id, epoch);
        if (!known) return;
        auto& node = *known;
        node.beat = beat;
        node.last_heartbeat_at = wall_now();
        provide_addresses(self, node, self->state.connections.at(node_id).session);
        tell(self, std::move(node), true);
      },
      [self](news_atom, const std::string& node_id, std::uint64_t epoch, const std::vector<PoolState>& pools) {
        auto known = connected_node(self, node_id, epoch);
        if (!known) return;
        auto& node = *known;
        for (const auto& pool : pools) {
          const auto same = [&](const PoolState& other) {
            return other.owner == pool.owner && other.template_name == pool.template_name;
          };
          const auto found = std::ranges::find_if(node.pools, same);
          if (found == node.pools.end())
            node.pools.push_back(pool);
          else
            *found = pool;
        }
        tell(self, node, true);
        self->send(self->state.sandboxes, node_atom_v, node);
      },
      [self](lost_atom, const std::string& node_id, std::uint64_t epoch, const std::string& reason) {
        lose(self, node_id, epoch, reason);
      },
      [self](cordon_atom, const std::string& node_id, bool drains, std::uint32_t deadline_sec) {
        return cordon(self, node_id, true, drains, deadline_sec);
      },
      [self](uncordon_atom, const std::string& node_id) { return cordon(self, node_id, false, false, 0); },
      [self](remove_atom, const std::string& node_id) -> caf::result<void> {
        auto& state = self->state;
        if (!state.control->boards->nodes.find(node_id)) return to_caf(unknown_node(node_id));
        if (state.connections.contains(node_id))
          return to_caf({.code = ErrorCode::conflict,
                         .attempted = "remove node",
                         .subject = node_id,
                         .reason = "it is connected",
                         .mend = "drain it and stop its daemon first"});
        if (auto gone = delete_record(*state.control->store, kNodeKind, node_id); !gone) return to_caf(gone.error());
        state.control->boards->nodes.erase(node_id);
        self->send(state.sandboxes, remove_atom_v, node_id, true);
        self->send(state.templates, remove_atom_v, node_id, true);
        return caf::unit;
      },
      [self](join_atom, const std::string& node_id, const std::string& key_digest) {
        return reply(join(self, node_id, key_digest));
      },
      [self](tick_atom) {
        for (const auto& [node_id, open] : self->state.connections)
          self->send_exit(open.session, caf::exit_reason::user_shutdown);
      },
  };
}

}  // namespace nanobox
