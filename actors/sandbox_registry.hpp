#pragma once

#include <map>
#include <vector>

#include "actors/concerns.hpp"
#include "actors/services.hpp"
#include "actors/stage_routes.hpp"

namespace nanobox {

struct SandboxRegistryState {
  static inline const char* name = "sandbox_registry";
  SharedServices services;
  BootConcerns concerns;
  RunRecorderActor recorder;
  /// Sandboxes being made: who waits for them and the run that makes them.
  struct Booting {
    RunActor run;
    caf::typed_response_promise<Sandbox> created;
    std::vector<caf::typed_response_promise<void>> removers;  ///< asked to remove it meanwhile
  };
  std::map<std::string, Booting> booting;
  std::map<std::string, std::vector<caf::typed_response_promise<void>>> removing;
  std::vector<caf::typed_response_promise<void>> draining;
  std::string drain_mode;  ///< empty: not draining
};

SandboxRegistryActor::behavior_type sandbox_registry(SandboxRegistryActor::stateful_pointer<SandboxRegistryState> self,
                                                     SharedServices services, BootConcerns concerns,
                                                     RunRecorderActor recorder);

}  // namespace nanobox
