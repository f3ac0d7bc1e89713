#include "actors/run_recorder.hpp"

namespace nanobox {

void record_run(Boards& boards, RunRecord run, std::size_t kept) {
  const auto id = run.id;
  boards.runs.publish(id, std::move(run));
  boards.runs.keep_newest(kept, [](const RunRecord& old) { return old.ended_at.has_value(); });
}

RunRecorderActor::behavior_type run_recorder(RunRecorderActor::stateful_pointer<RunRecorderState> self,
                                             std::shared_ptr<Boards> boards) {
  self->state.boards = std::move(boards);
  return {
      [self](record_atom, RunRecord& run) { record_run(*self->state.boards, std::move(run), kNodeRunsKept); },
  };
}

}  // namespace nanobox
