#pragma once

#include "actors/pipeline_run.hpp"
#include "actors/stage_routes.hpp"

namespace nanobox {

using BootRunState = PipelineRunState<BootPipeline, BootConcerns, BootCall>;
using PoolRunState = PipelineRunState<PoolPipeline, BootConcerns, BootCall>;

/// One boot from template to configured sandbox; tells `sink` its end.
RunActor::behavior_type boot_run(RunActor::stateful_pointer<BootRunState> self, RunRecord record, BootConcerns concerns,
                                 BootRequest request, RunRecorderActor recorder, BootEndedSink sink);

/// The same up to a VM that is ready to become a sandbox.
RunActor::behavior_type pool_run(RunActor::stateful_pointer<PoolRunState> self, RunRecord record, BootConcerns concerns,
                                 BootRequest request, RunRecorderActor recorder, BootEndedSink sink);

}  // namespace nanobox
