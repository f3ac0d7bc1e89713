#include "actors/warmup_run.hpp"

namespace nanobox {

RunActor::behavior_type warmup_run(RunActor::stateful_pointer<WarmupRunState> self, RunRecord record,
                                   WarmupConcerns concerns, WarmupRequest request, RunRecorderActor recorder) {
  auto& state = self->state;
  state.call = {.run_id = record.id, .request = request, .progress = RunActor(self)};
  state.record = std::move(record);
  state.recorder = std::move(recorder);
  state.done = [self](const RunRecord& ended, const Result<Template>& made) {
    self->send(self->state.concerns.template_registry, ended_atom_v, ended, made ? *made : Template{});
    self->state.call.progress = nullptr;  // a run that holds its own handle never ends
  };
  state.concerns = std::move(concerns);
  return run_pipeline<WarmupPipeline>(static_cast<RunActor::stateful_pointer<WarmupRunState>>(self), request.image);
}

}  // namespace nanobox
