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
  /// By the saved state's name: who waits for it.
  std::map<std::string, std::vector<caf::typed_response_promise<void>>> fetching;
};

/// Each saved state is fetched once, however many wait for it.
StateFetcherActor::behavior_type state_fetcher(StateFetcherActor::stateful_pointer<StateFetcherState> self,
                                               SharedServices services, SandboxRegistryActor sandboxes,
                                               FetchArtifact fetch);

}  // namespace nanobox
