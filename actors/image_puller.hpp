#pragma once

#include "actors/concerns.hpp"
#include "actors/services.hpp"
#include "actors/stage_workers.hpp"

namespace nanobox {

struct ImagePullerState {
  static inline const char* name = "image_puller";
  SharedServices services;
  StageWorkers workers;
  /// Roots being made: identity → the run that makes it and those that wait for it.
  struct InFlight {
    std::string run_id;
    std::vector<Descriptor> layers;
    std::deque<std::function<void()>> waiting;
  };
  std::map<std::string, InFlight> in_flight;
};

ImagePullerActor::behavior_type image_puller(ImagePullerActor::stateful_pointer<ImagePullerState> self,
                                             SharedServices services);

}  // namespace nanobox
