#pragma once

#include "actors/messages.hpp"

namespace nanobox {

/// Takes the progress of a run's stages: the run itself.
using ProgressSink = caf::typed_actor<caf::reacts_to<progress_atom, std::string, StageProgress>>;

/// What every stage of a warmup is told beside its input.
struct WarmupCall {
  std::string run_id;
  WarmupRequest request;
  ProgressSink progress;
};

/// What every stage of a boot is told beside its input.
struct BootCall {
  std::string run_id;
  std::string sandbox_id;
};

/// A run: reports progress to itself, can be cancelled.
using RunActor = caf::typed_actor<caf::reacts_to<progress_atom, std::string, StageProgress>,
                                  caf::reacts_to<cancel_atom>, caf::reacts_to<retry_atom, std::uint32_t>,
                                  // INTERNAL: a stage's undo, again; the stage and the attempt.
                                  caf::reacts_to<undo_atom, std::uint32_t, std::uint32_t>>;

/// Keeps what runs tell about themselves, bounded.
using RunRecorderActor = caf::typed_actor<caf::reacts_to<record_atom, RunRecord>>;

}  // namespace nanobox

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(nanobox::WarmupCall)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(nanobox::BootCall)
