#pragma once

#include <chrono>
#include <map>
#include <optional>

#include "actors/boards.hpp"
#include "actors/cluster/concerns.hpp"
#include "actors/cluster/open_questions.hpp"

namespace nanobox {

/// Whom a session tells what its node says.
struct SessionListeners {
  NodeRegistryActor nodes;
  NewsSinkActor sandboxes;
  NewsSinkActor templates;
  std::shared_ptr<Boards> boards;  ///< of the control plane
  std::shared_ptr<Board<std::string>> template_makers;
  bool is_local = false;  ///< in the same process: its silence means nothing
};

struct NodeSessionState {
  static inline const char* name = "node_session";
  std::string node_id;
  std::uint64_t epoch = 0;
  NodeFaceActor face;
  SessionListeners listeners;
  std::optional<OpenQuestions> questions;          ///< to the node, told of its loss
  std::map<caf::actor_addr, std::uint64_t> sinks;  ///< of streams that were opened: their number in `questions`
  std::chrono::steady_clock::time_point heard{};
  std::optional<Error> lost;  ///< what everybody is answered from then on
  std::chrono::steady_clock::time_point lost_at{};
};

/// A node that says nothing for so long is lost.
inline constexpr std::chrono::seconds kNodeSilence{5};
inline constexpr std::chrono::seconds kNodeBeat{1};

/// One connection of one node, which alone holds the node's face and which alone the node's messages reach: no handle
/// of any other actor is ever given to a node, but for the sinks of its streams. Ends a little after the connection,
/// and at once when told to exit or when its registry dies.
NodeSessionActor::behavior_type node_session(NodeSessionActor::stateful_pointer<NodeSessionState> self,
                                             std::string node_id, std::uint64_t epoch, NodeFaceActor face,
                                             SessionListeners listeners);

}  // namespace nanobox
