#pragma once

#include <deque>
#include <functional>
#include <map>
#include <set>
#include <vector>

#include "actors/concerns.hpp"
#include "actors/death_book.hpp"
#include "actors/services.hpp"
#include "actors/stage_routes.hpp"
#include "actors/vm_remains.hpp"

namespace nanobox {

struct SandboxRegistryState {
  static inline const char* name = "sandbox_registry";
  SharedServices services;
  BootConcerns concerns;
  RunRecorderActor recorder;
  PoolKeeperActor pool;
  VmmStockActor stock;
  SnapshotMakerActor snapshots;
  TemplateRegistryActor templates;
  /// Sandboxes being made or resumed: the run that does it and who is told.
  struct Booting {
    RunActor run;
    BootRequest request;
    std::function<void(Result<Sandbox>)> done;
    std::vector<caf::typed_response_promise<void>> removers;  ///< asked to remove it meanwhile
    bool resumes = false;                                     ///< what fails is paused again
    bool cancelled = false;
  };
  std::map<std::string, Booting> booting;
  /// Asked of the pool, by sandbox id.
  struct Taking {
    bool cancelled = false;
    std::vector<caf::typed_response_promise<void>> removers;
  };
  std::map<std::string, Taking> taking;
  std::map<std::string, std::vector<caf::typed_response_promise<void>>> removing;
  /// Sandboxes that are being saved, and what is to be done with each of them afterwards, in order.
  std::map<std::string, std::deque<std::function<void()>>> saving;
  std::optional<DeathBook> deaths;
  VmRemainsBoard remains;
  std::map<std::string, VmSpent> rested;           ///< what VMs before their last pause had taken
  std::map<std::string, SandboxDeath> dying;       ///< why those are ended that are on their way
  std::map<std::string, std::string> died_saving;  ///< whose VM ended while it was being paused: why
  std::set<std::filesystem::path> half_saved;      ///< folders that no record names yet
  std::vector<caf::typed_response_promise<void>> draining;
  std::size_t to_pause = 0;  ///< at the end, on their way
  std::string drain_mode;    ///< empty: not draining
};

using SandboxRegistrySelf = SandboxRegistryActor::stateful_pointer<SandboxRegistryState>;

/// @param templates, pool, stock  asked for what sandboxes come from
/// @param remains  what their VMs left when they ended
SandboxRegistryActor::behavior_type sandbox_registry(SandboxRegistrySelf self, SharedServices services,
                                                     BootConcerns concerns, RunRecorderActor recorder,
                                                     PoolKeeperActor pool, VmmStockActor stock,
                                                     TemplateRegistryActor templates, SnapshotMakerActor snapshots,
                                                     VmRemainsBoard remains);

}  // namespace nanobox
