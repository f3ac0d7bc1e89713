#pragma once

#include <chrono>
#include <functional>
#include <map>

#include "actors/boards.hpp"
#include "actors/cluster/concerns.hpp"

namespace nanobox {

/// Whom a session tells what its node says.
struct SessionListeners {
  NodeRegistryActor nodes;
  NewsSinkActor sandboxes;
  NewsSinkActor templates;
  std::shared_ptr<Boards> boards;  ///< of the control plane
  bool is_local = false;           ///< in the same process: its silence means nothing
};

struct NodeSessionState {
  static inline const char* name = "node_session";
  std::string node_id;
  std::uint64_t epoch = 0;
  NodeFaceActor face;
  SessionListeners listeners;
  std::map<std::uint64_t, std::function<void(const Error&)>> pending;  ///< questions to the node, told of its loss
  std::uint64_t last_number = 0;
  std::chrono::steady_clock::time_point heard{};
};

/// A node that says nothing for so long is lost.
inline constexpr std::chrono::seconds kNodeSilence{5};
inline constexpr std::chrono::seconds kNodeBeat{1};

/// One connection of one node, which alone holds the node's face and which alone the node's messages reach: no handle
/// of any other actor is ever given to a node. Ends with the connection, or when told to exit.
NodeSessionActor::behavior_type node_session(NodeSessionActor::stateful_pointer<NodeSessionState> self,
                                             std::string node_id, std::uint64_t epoch, NodeFaceActor face,
                                             SessionListeners listeners);

}  // namespace nanobox
