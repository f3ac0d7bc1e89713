#include "actors/cluster/control_plane.hpp"

#include <caf/scoped_actor.hpp>
#include <condition_variable>
#include <mutex>

#include "actors/cluster/event_log.hpp"
#include "actors/cluster/guest_router.hpp"
#include "actors/cluster/network_directory.hpp"
#include "actors/cluster/node_door.hpp"
#include "actors/cluster/node_registry.hpp"
#include "actors/cluster/node_usage.hpp"
#include "actors/cluster/remote_network_keeper.hpp"
#include "actors/cluster/sandbox_directory.hpp"
#include "actors/cluster/state_fetcher.hpp"
#include "actors/cluster/template_directory.hpp"
#include "actors/supervisor.hpp"
#include "actors/template_snapshot.hpp"
#include "config/random_bytes.hpp"
#include "pipeline/boot/network/node_network.hpp"
#include "pipeline/store/record_store.hpp"

namespace nanobox {

namespace {

/// Nodes that joined are known, and lost until they connect.
Result<void> load_nodes(const ControlServices& control) {
  for (const auto& record : NANOBOX_TRY(all_records(*control.store, kNodeKind))) {
    auto node = node_from_record(record.value);
    if (!node) continue;
    node->state = NodeState::lost;
    node->reason = "it has not connected since the control plane started";
    control.boards->nodes.publish(node->node_id, *node);
  }
  return {};
}

}  // namespace

Result<ControlPlane> start_control_plane(caf::actor_system& system, SharedControl control) {
  NANOBOX_TRY(load_nodes(*control));
  ControlPlane plane{
      .control = control, .templates = {}, .sandboxes = {}, .guests = {}, .networks = {}, .nodes = {}, .events = {}};
  const auto& boards = control->boards;
  // First, so that it sees all that the others do.
  if (control->events)
    plane.events = supervise(system, "event_log", boards,
                             [control, changes = std::make_shared<ChangeLog>(wall_now())](caf::actor_system& on) {
                               return on.spawn(event_log, control, changes);
                             });
  // Set below: a directory that was started anew has all nodes tell it again what they hold.
  const auto nodes = std::make_shared<NodeRegistryActor>();
  const auto ask_again = [nodes](bool& first) {
    if (!std::exchange(first, false)) caf::anon_send(*nodes, tick_atom_v);
  };
  plane.templates = supervise<caf::detached>(system, "template_directory", boards,
                                             [control, ask_again, first = true](caf::actor_system& on) mutable {
                                               ask_again(first);
                                               return on.spawn<caf::detached>(template_directory, control);
                                             });
  plane.sandboxes = supervise<caf::detached>(system, "sandbox_directory", boards,
                                             [control, ask_again, first = true](caf::actor_system& on) mutable {
                                               ask_again(first);
                                               return on.spawn<caf::detached>(sandbox_directory, control);
                                             });
  plane.guests =
      supervise(system, "guest_router", boards, [control, ask_again, first = true](caf::actor_system& on) mutable {
        ask_again(first);
        return on.spawn(guest_router, control);
      });
  plane.networks =
      supervise(system, "network_directory", boards, [control, ask_again, first = true](caf::actor_system& on) mutable {
        ask_again(first);
        return on.spawn(network_directory, control);
      });
  plane.nodes = supervise<caf::detached>(system, "node_registry", boards, [plane, control](caf::actor_system& on) {
    return on.spawn<caf::detached>(node_registry, control, plane.sandboxes, plane.templates, plane.guests,
                                   plane.networks);
  });
  *nodes = plane.nodes;
  return plane;
}

void stop_control_plane(caf::actor_system& system, ControlPlane& plane) {
  if (!plane.nodes) return;
  {
    caf::scoped_actor self(system);
    self->send_exit(plane.nodes, caf::exit_reason::user_shutdown);
    self->send_exit(plane.guests, caf::exit_reason::user_shutdown);
    self->send_exit(plane.networks, caf::exit_reason::user_shutdown);
    self->send_exit(plane.sandboxes, caf::exit_reason::user_shutdown);
    self->send_exit(plane.templates, caf::exit_reason::user_shutdown);
    if (plane.events) self->send_exit(plane.events, caf::exit_reason::user_shutdown);
  }
  plane = ControlPlane{};
}

ControlPlaneDoor local_door(caf::actor_system& system, const ControlPlane& plane) {
  const auto door = system.spawn(node_door, plane.nodes, ProofCheck());
  return {.open = [door]() -> Result<NodeDoorActor> { return door; },
          .prove = [](const std::string&) -> Result<std::string> { return std::string(); },
          // Without handles it would live on as long as the deadline of its last question.
          .close = [door] { caf::anon_send_exit(door, caf::exit_reason::user_shutdown); }};
}

NodeMembership join_node(caf::actor_system& system, const Node& node, ControlPlaneDoor door, NodeHello description,
                         FetchArtifact fetch) {
  const auto& boards = node.services->boards;
  NodeMembership membership;
  membership.fetchers.templates = supervise(system, "template_fetcher", boards, [node, fetch](caf::actor_system& on) {
    return on.spawn(template_fetcher, node.services, node.templates, fetch);
  });
  membership.fetchers.states = supervise(system, "state_fetcher", boards, [node, fetch](caf::actor_system& on) {
    return on.spawn(state_fetcher, node.services, node.sandboxes, fetch);
  });
  membership.fetchers.networks = supervise<caf::detached>(
      system, "remote_network_keeper", boards,
      [node](caf::actor_system& on) { return on.spawn<caf::detached>(remote_network_keeper, node.services); });
  membership.link = supervise<caf::detached>(
      system, "node_link", boards,
      [node, fetchers = membership.fetchers, door = std::move(door), description](caf::actor_system& on) {
        return on.spawn<caf::detached>(node_link, node, fetchers, door, description);
      });
  return membership;
}

void leave(caf::actor_system& system, NodeMembership& membership) {
  {
    caf::scoped_actor self(system);
    self->send_exit(membership.link, caf::exit_reason::user_shutdown);
    self->send_exit(membership.fetchers.templates, caf::exit_reason::user_shutdown);
    self->send_exit(membership.fetchers.states, caf::exit_reason::user_shutdown);
    self->send_exit(membership.fetchers.networks, caf::exit_reason::user_shutdown);
  }
  membership = {};
}

Result<void> await_node(const ControlPlane& plane, const std::string& node_id, std::chrono::milliseconds deadline) {
  std::mutex mutex;
  std::condition_variable changed;
  auto& nodes = plane.control->boards->nodes;
  const auto is_there = [&] {
    const auto node = nodes.find(node_id);
    return node && node->state != NodeState::lost;
  };
  // Before the lock: whoever publishes holds the board's while it takes ours.
  const auto watch = nodes.watch(node_id, [&](const auto&) {
    const std::lock_guard guard(mutex);
    changed.notify_all();
  });
  std::unique_lock lock(mutex);
  if (changed.wait_for(lock, deadline, is_there)) return {};
  return fail({.code = ErrorCode::deadline_exceeded,
               .attempted = "connect node",
               .subject = node_id,
               .reason = "it is not there after " + std::to_string(deadline.count()) + " ms",
               .mend = "the log says more"});
}

NodeHello describe_node(const Services& services, std::string version) {
  const auto overlay = services.network ? services.network->overlay_address() : std::nullopt;
  return {.node_id = services.node_id,
          .version = std::move(version),
          .incarnation = random_hex(16),
          .vmm = services.driver ? std::string(to_string(services.driver->kind())) : "",
          .machine = machine_of(services),
          .data_addr = {},
          .subnet_parts = {to_string(services.address_part)},
          .overlay_addr = overlay ? ipv4_text(*overlay) : "",
          .capacity = capacity_of(services),
          .sandboxes = {},
          .templates = {},
          .pools = {},
          .kept_states = {}};
}

}  // namespace nanobox
