#pragma once

#include <map>
#include <set>
#include <string>

#include "actors/cluster/concerns.hpp"
#include "actors/cluster/control_services.hpp"
#include "pipeline/cluster/group_members.hpp"

namespace nanobox {

struct NetworkDirectoryState {
  static inline const char* name = "network_directory";
  SharedControl control;
  struct Node {
    NodeSessionActor session;
    std::uint64_t epoch = 0;
    std::set<std::string> told;  ///< groups that it knows members of on other nodes
  };
  std::map<std::string, Node> nodes;  ///< the connected ones
  GroupMembers members;
  std::set<std::string> changed;  ///< groups of which something is to be told
  bool peers_changed = false;
  bool flushing = false;
  Board<Sandbox>::Watch sandboxes;
  Board<NodeStatus>::Watch statuses;
};

/// Reads the boards, and owns nothing: started anew it knows as much as before. A node whose connection is lost is told
/// nothing; the others keep what they know of it until it, or its sandboxes, are given up.
NetworkDirectoryActor::behavior_type network_directory(
    NetworkDirectoryActor::stateful_pointer<NetworkDirectoryState> self, SharedControl control);

}  // namespace nanobox
