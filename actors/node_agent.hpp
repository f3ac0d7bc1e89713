#pragma once

#include <map>

#include "actors/concerns.hpp"
#include "actors/services.hpp"

namespace nanobox {

struct NodeAgentState {
  static inline const char* name = "node_agent";
  SharedServices services;
  DiskKeeperActor disk_keeper;
  VmmStockActor stock;
  VmEndedSink registry;
  std::map<std::string, VmSupervisorActor> supervisors;  ///< by sandbox or pool id
};

/// Detached: it reads and writes the node's store.
NodeAgentActor::behavior_type node_agent(NodeAgentActor::stateful_pointer<NodeAgentState> self, SharedServices services,
                                         DiskKeeperActor disk_keeper, VmmStockActor stock);

}  // namespace nanobox
