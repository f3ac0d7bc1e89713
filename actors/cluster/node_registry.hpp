#pragma once

#include <map>
#include <set>

#include "actors/cluster/concerns.hpp"
#include "actors/cluster/control_services.hpp"

namespace nanobox {

struct NodeRegistryState {
  static inline const char* name = "node_registry";
  SharedControl control;
  SandboxDirectoryActor sandboxes;
  TemplateDirectoryActor templates;
  GuestRouterActor guests;
  NetworkDirectoryActor networks;
  struct Connection {
    NodeSessionActor session;
    std::string incarnation;
    std::uint64_t epoch = 0;
  };
  std::map<std::string, Connection> connections;         ///< by node id
  std::map<caf::actor_addr, NodeSessionActor> sessions;  ///< those too whose connection is over, until they end
  std::set<std::string> denied;                          ///< nodes that were told that there is no other part for them
};

/// Detached: it writes the store.
NodeRegistryActor::behavior_type node_registry(NodeRegistryActor::stateful_pointer<NodeRegistryState> self,
                                               SharedControl control, SandboxDirectoryActor sandboxes,
                                               TemplateDirectoryActor templates, GuestRouterActor guests,
                                               NetworkDirectoryActor networks);

}  // namespace nanobox
