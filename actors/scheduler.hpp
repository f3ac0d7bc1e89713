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

}  // namespace nanobox
