#pragma once

#include "actors/pipeline_run.hpp"
#include "actors/stage_routes.hpp"

namespace nanobox {

using WarmupRunState = PipelineRunState<WarmupPipeline, WarmupConcerns, WarmupCall>;

/// One warmup from image name to published template; tells the registry its end. Detached: it holds downloads and
/// half-made files, whose destructors wait.
RunActor::behavior_type warmup_run(RunActor::stateful_pointer<WarmupRunState> self, RunRecord record,
                                   WarmupConcerns concerns, WarmupRequest request, RunRecorderActor recorder);

}  // namespace nanobox
