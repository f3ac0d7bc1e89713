#pragma once

#include <caf/actor_ostream.hpp>
#include <map>
#include <optional>

#include "actors/concerns.hpp"
#include "actors/services.hpp"

namespace nanobox {

struct TemplateRegistryState {
  static inline const char* name = "template_registry";
  SharedServices services;
  ImagePullerActor image_puller;
  LayerExtractorActor layer_extractor;
  Ext4BuilderActor ext4_builder;
  SnapshotMakerActor snapshot_maker;
  RunRecorderActor recorder;
  struct Running {
    std::string run_id;
    WarmupRequest request;
    RunActor run;
  };
  std::map<std::string, Running> running;  ///< by template key
  std::vector<caf::typed_response_promise<void>> draining;
  bool stopping = false;
};

TemplateRegistryActor::behavior_type template_registry(
    TemplateRegistryActor::stateful_pointer<TemplateRegistryState> self, SharedServices services,
    ImagePullerActor image_puller, LayerExtractorActor layer_extractor, Ext4BuilderActor ext4_builder,
    SnapshotMakerActor snapshot_maker, RunRecorderActor recorder);

}  // namespace nanobox
