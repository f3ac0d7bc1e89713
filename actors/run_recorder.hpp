#pragma once

#include "actors/boards.hpp"
#include "actors/calls.hpp"

namespace nanobox {

/// How many runs that have ended stay: a node's are for what follows them there, the control plane's for people.
inline constexpr std::size_t kNodeRunsKept = 1'000;
inline constexpr std::size_t kControlRunsKept = 10'000;

/// Publishes a run as it is now; of those that have ended the newest `kept` stay.
void record_run(Boards& boards, RunRecord run, std::size_t kept);

struct RunRecorderState {
  static inline const char* name = "run_recorder";
  std::shared_ptr<Boards> boards;
};

/// Publishes a node's runs on their board.
RunRecorderActor::behavior_type run_recorder(RunRecorderActor::stateful_pointer<RunRecorderState> self,
                                             std::shared_ptr<Boards> boards);

}  // namespace nanobox
