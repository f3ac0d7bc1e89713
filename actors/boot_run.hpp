#pragma once

#include "actors/pipeline_run.hpp"
#include "actors/stage_routes.hpp"

namespace nanobox {

using BootRunState = PipelineRunState<BootPipeline, BootConcerns, BootCall>;

/// One boot from template to configured sandbox; tells the registry its end.
RunActor::behavior_type boot_run(RunActor::stateful_pointer<BootRunState> self, RunRecord record, BootConcerns concerns,
                                 BootRequest request, RunRecorderActor recorder, SandboxRegistryActor registry);

}  // namespace nanobox
