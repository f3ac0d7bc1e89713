#include "actors/boot_run.hpp"

namespace nanobox {

RunActor::behavior_type boot_run(RunActor::stateful_pointer<BootRunState> self, RunRecord record, BootConcerns concerns,
                                 BootRequest request, RunRecorderActor recorder, SandboxRegistryActor registry) {
  auto& state = self->state;
  state.call = {.run_id = record.id, .sandbox_id = request.sandbox.id};
  state.record = std::move(record);
  state.recorder = std::move(recorder);
  state.concerns = std::move(concerns);
  state.done = [self, registry, wanted = request.sandbox](const RunRecord& ended, const Result<Sandbox>& outcome) {
    self->send(registry, ended_atom_v, ended, outcome ? *outcome : wanted);
  };
  return run_pipeline<BootPipeline>(self, std::move(request));
}

}  // namespace nanobox
