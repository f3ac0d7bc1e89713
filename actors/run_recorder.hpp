#pragma once

#include "actors/boards.hpp"
#include "actors/calls.hpp"

namespace nanobox {

struct RunRecorderState {
  static inline const char* name = "run_recorder";
  std::shared_ptr<Boards> boards;
};

/// Publishes runs on their board and keeps the newest 1000.
RunRecorderActor::behavior_type run_recorder(RunRecorderActor::stateful_pointer<RunRecorderState> self,
                                             std::shared_ptr<Boards> boards);

}  // namespace nanobox
