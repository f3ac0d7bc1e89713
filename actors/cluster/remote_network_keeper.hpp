#pragma once

#include "actors/cluster/concerns.hpp"
#include "actors/services.hpp"

namespace nanobox {

struct RemoteNetworkKeeperState {
  static inline const char* name = "remote_network_keeper";
  SharedServices services;
};

/// Detached: netlink blocks. What fails is tried again by the network's own looking after.
RemoteNetworkKeeperActor::behavior_type remote_network_keeper(
    RemoteNetworkKeeperActor::stateful_pointer<RemoteNetworkKeeperState> self, SharedServices services);

}  // namespace nanobox
