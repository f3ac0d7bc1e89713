#include "actors/run_recorder.hpp"

namespace nanobox {

namespace {
constexpr std::size_t kRunsKept = 1000;
}

RunRecorderActor::behavior_type run_recorder(RunRecorderActor::stateful_pointer<RunRecorderState> self,
                                             std::shared_ptr<Boards> boards) {
  self->state.boards = std::move(boards);
  return {
      [self](record_atom, RunRecord& run) {
        const auto id = run.id;
        self->state.boards->runs.publish(id, std::move(run));
        self->state.boards->runs.keep_newest(kRunsKept, [](const RunRecord& old) { return old.ended_at.has_value(); });
      },
  };
}

}  // namespace nanobox
