#pragma once

#include <map>

#include "actors/cluster/concerns.hpp"
#include "actors/cluster/control_services.hpp"

namespace nanobox {

struct GuestRouterState {
  static inline const char* name = "guest_router";
  SharedControl control;
  struct Node {
    NodeSessionActor session;
    std::uint64_t epoch = 0;
  };
  std::map<std::string, Node> nodes;  ///< that are connected, by node id
};

GuestRouterActor::behavior_type guest_router(GuestRouterActor::stateful_pointer<GuestRouterState> self,
                                             SharedControl control);

}  // namespace nanobox
