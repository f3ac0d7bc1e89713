#pragma once

#include <map>

#include "actors/cluster/artifact_fetch.hpp"
#include "actors/cluster/concerns.hpp"

namespace nanobox {

struct StateFetcherState {
  static inline const char* name = "state_fetcher";
  SharedServices services;
  SandboxRegistryActor sandboxes;
  FetchArtifact fetch;
  struct Waiting {
    caf::typed_response_promise<void> promise;
    caf::actor_addr asker;
  };
  /// By the saved state's name: who waits for it. Nobody, where the askers' connection broke: it is dropped once it is
  /// here, as nobody would say what to do with it.
  std::map<std::string, std::vector<Waiting>> fetching;
};

/// Each saved state is fetched once, however many wait for it.
StateFetcherActor::behavior_type state_fetcher(StateFetcherActor::stateful_pointer<StateFetcherState> self,
                                               SharedServices services, SandboxRegistryActor sandboxes,
                                               FetchArtifact fetch);

}  // namespace nanobox
