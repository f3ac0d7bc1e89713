#pragma once

#include <map>

#include "actors/concerns.hpp"
#include "actors/services.hpp"
#include "actors/vm_remains.hpp"

namespace nanobox {

struct NodeAgentState {
  static inline const char* name = "node_agent";
  SharedServices services;
  DiskKeeperActor disk_keeper;
  VmmStockActor stock;
  VmEndedSink registry;
  VmRemainsBoard remains;
  std::map<std::string, VmSupervisorActor> supervisors;  ///< by sandbox or pool id
};

/// Detached: it reads and writes the node's store. @param remains  what sandboxes' VMs leave when they end
NodeAgentActor::behavior_type node_agent(NodeAgentActor::stateful_pointer<NodeAgentState> self, SharedServices services,
                                         DiskKeeperActor disk_keeper, VmmStockActor stock, VmRemainsBoard remains);

}  // namespace nanobox
