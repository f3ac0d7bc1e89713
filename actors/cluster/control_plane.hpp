#pragma once

#include <caf/actor_system.hpp>

#include "actors/cluster/concerns.hpp"
#include "actors/cluster/control_services.hpp"
#include "actors/cluster/node_link.hpp"
#include "actors/cluster/template_fetcher.hpp"

namespace nanobox {

/// The actors that know the whole cluster. A single server is a cluster of one.
struct ControlPlane {
  SharedControl control;
  TemplateDirectoryActor templates;
  SandboxDirectoryActor sandboxes;
  GuestRouterActor guests;
  NetworkDirectoryActor networks;
  NodeRegistryActor nodes;
  caf::actor events;  ///< event_log; null: nobody wants to know
};

/// Spawns them over what the store knows. @errors store_failed
Result<ControlPlane> start_control_plane(caf::actor_system& system, SharedControl control);
void stop_control_plane(caf::actor_system& system, ControlPlane& plane);

/// A node's part of a cluster: what connects it with its control plane.
struct NodeMembership {
  Fetchers fetchers;
  NodeLinkActor link;
};

/// The door of a control plane in the same process.
ControlPlaneDoor local_door(caf::actor_system& system, const ControlPlane& plane);
/// @param description  without what the node holds
NodeMembership join_node(caf::actor_system& system, const Node& node, ControlPlaneDoor door, NodeHello description,
                         FetchArtifact fetch);
void leave(caf::actor_system& system, NodeMembership& membership);
/// Waits until the control plane knows the node and what it holds. @errors deadline_exceeded
Result<void> await_node(const ControlPlane& plane, const std::string& node_id, std::chrono::milliseconds deadline);

/// How this node introduces itself.
NodeHello describe_node(const Services& services, std::string version);

}  // namespace nanobox
