#include "actors/boot_run.hpp"

namespace nanobox {

namespace {

const Sandbox& sandbox_of(const Sandbox& configured) {
  return configured;
}
const Sandbox& sandbox_of(const ReadyGuest& ready) {
  return ready.sandbox;
}

template <class PipelineT, class Self>
RunActor::behavior_type run(Self self, RunRecord record, BootConcerns concerns, BootRequest request,
                            RunRecorderActor recorder, BootEndedSink sink) {
  auto& state = self->state;
  state.call = {.run_id = record.id, .sandbox_id = request.sandbox.id};
  state.record = std::move(record);
  state.recorder = std::move(recorder);
  state.concerns = std::move(concerns);
  state.done = [self, sink, wanted = request.sandbox](const RunRecord& ended,
                                                      const Result<typename PipelineT::Output>& outcome) {
    self->send(sink, ended_atom_v, ended, outcome ? sandbox_of(*outcome) : wanted);
  };
  return run_pipeline<PipelineT>(self, std::move(request));
}

}  // namespace

RunActor::behavior_type boot_run(RunActor::stateful_pointer<BootRunState> self, RunRecord record, BootConcerns concerns,
                                 BootRequest request, RunRecorderActor recorder, BootEndedSink sink) {
  return run<BootPipeline>(self, std::move(record), std::move(concerns), std::move(request), std::move(recorder),
                           std::move(sink));
}

RunActor::behavior_type pool_run(RunActor::stateful_pointer<PoolRunState> self, RunRecord record, BootConcerns concerns,
                                 BootRequest request, RunRecorderActor recorder, BootEndedSink sink) {
  return run<PoolPipeline>(self, std::move(record), std::move(concerns), std::move(request), std::move(recorder),
                           std::move(sink));
}

}  // namespace nanobox
