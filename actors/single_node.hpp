#pragma once

#include <map>

#include "actors/concerns.hpp"
#include "actors/services.hpp"

namespace nanobox {

struct SchedulerState {
  static inline const char* name = "scheduler";
  SharedServices services;
  std::map<std::string, Resources> reserved;  ///< by sandbox id
};

/// Places on this node while its memory and disk allow it. @errors no_capacity
SchedulerActor::behavior_type scheduler(SchedulerActor::stateful_pointer<SchedulerState> self, SharedServices services);

struct NoNetworkState {
  static inline const char* name = "network_keeper";
};

/// Without per-VM interfaces no address is given out.
IpAllocatorActor::behavior_type ip_allocator(IpAllocatorActor::stateful_pointer<NoNetworkState> self);
/// Without per-VM interfaces only mode `isolated` can be had. @errors network_unavailable
NetworkKeeperActor::behavior_type network_keeper(NetworkKeeperActor::stateful_pointer<NoNetworkState> self);

}  // namespace nanobox
