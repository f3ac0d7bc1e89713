#pragma once

#include <map>
#include <set>

#include "actors/concerns.hpp"
#include "actors/services.hpp"
#include "actors/stage_routes.hpp"

namespace nanobox {

struct SnapshotMakerState {
  static inline const char* name = "snapshot_maker";
  SharedServices services;
  BootConcerns concerns;
  RunRecorderActor recorder;
  /// A template whose VM boots, primes or is saved.
  struct Making {
    std::string warmup_run;            ///< empty: another size of a template that is ready
    std::shared_ptr<const void> held;  ///< its folder, that no template has yet
    Template entry;
    RunActor boot;
    caf::typed_response_promise<Template> promise;
    std::chrono::steady_clock::time_point ready_until;  ///< for its prime in the background
    bool cancelled = false;
  };
  std::map<std::string, Making> making;  ///< by the VM's id
  /// The folders that warmups were answered with, which no template may have yet; by the run.
  std::map<std::string, std::shared_ptr<const void>> unpublished;
  std::vector<caf::typed_response_promise<void>> draining;
  bool stopping = false;
};

SnapshotMakerActor::behavior_type snapshot_maker(SnapshotMakerActor::stateful_pointer<SnapshotMakerState> self,
                                                 SharedServices services, BootConcerns concerns,
                                                 RunRecorderActor recorder);

}  // namespace nanobox
