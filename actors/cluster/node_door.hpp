#pragma once

#include <functional>
#include <map>

#include "actors/cluster/concerns.hpp"

namespace nanobox {

/// Whether the answer to a challenge shows that the node is who it says. @errors peer_untrusted
using ProofCheck =
    std::function<Result<void>(const NodeHello& hello, const std::string& challenge, const std::string& proof)>;

struct NodeDoorState {
  static inline const char* name = "node_door";
  ProofCheck check;
  NodeRegistryActor nodes;
  std::map<caf::actor_addr, std::string> challenges;  ///< by who was asked; each is good for one answer
};

/// All of the control plane that a node can reach before it is let in. It may be ended by whoever reaches it, and is
/// then opened anew. Without `check` everybody is believed: for the control plane's own node.
NodeDoorActor::behavior_type node_door(NodeDoorActor::stateful_pointer<NodeDoorState> self, NodeRegistryActor nodes,
                                       ProofCheck check);

}  // namespace nanobox
