#pragma once

#include "actors/boards.hpp"
#include "actors/calls.hpp"

namespace nanobox {

/// Publishes a run as it is now; of those that have ended the newest 1000 stay.
void record_run(Boards& boards, RunRecord run);

struct RunRecorderState {
  static inline const char* name = "run_recorder";
  std::shared_ptr<Boards> boards;
};

/// Publishes runs on their board and keeps the newest 1000.
RunRecorderActor::behavior_type run_recorder(RunRecorderActor::stateful_pointer<RunRecorderState> self,
                                             std::shared_ptr<Boards> boards);

}  // namespace nanobox
