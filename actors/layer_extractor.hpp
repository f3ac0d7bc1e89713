#pragma once

#include "actors/concerns.hpp"
#include "actors/services.hpp"
#include "actors/stage_workers.hpp"

namespace nanobox {

struct LayerExtractorState {
  static inline const char* name = "layer_extractor";
  SharedServices services;
  StageWorkers workers;
};

/// One image at a time: an extraction uses all cores by itself.
LayerExtractorActor::behavior_type layer_extractor(LayerExtractorActor::stateful_pointer<LayerExtractorState> self,
                                                   SharedServices services);

}  // namespace nanobox
