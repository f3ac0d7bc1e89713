#pragma once

#include <deque>
#include <map>
#include <set>

#include "actors/concerns.hpp"
#include "actors/services.hpp"
#include "actors/stage_routes.hpp"
#include "pipeline/insight/pool_vms.hpp"

namespace nanobox {

struct PoolKeeperState {
  static inline const char* name = "pool_keeper";
  struct Member {
    std::string id;
    Sandbox vm;  ///< what it was made as
    std::chrono::steady_clock::time_point since;
  };
  /// One template's.
  struct Pool {
    std::string key;  ///< template_key
    std::uint32_t min_ready = 0, max_ready = 0;
    std::deque<Member> ready;                    ///< oldest first
    std::map<std::string, BootRequest> filling;  ///< by the VM's id
    std::uint32_t failures = 0;                  ///< in a row
    std::chrono::steady_clock::time_point not_before{};
    std::string problem;
  };
  SharedServices services;
  BootConcerns concerns;
  RunRecorderActor recorder;
  VmmStockActor stock;
  std::shared_ptr<PoolVms> vms;
  std::map<std::string, Pool> pools;                        ///< by template_key
  std::set<std::string> leaving;                            ///< VMs that are being ended
  std::map<std::string, std::shared_ptr<const void>> held;  ///< their snapshots, by the VM's id
  std::vector<caf::typed_response_promise<void>> draining;
  bool stopping = false;
  bool resting = false;  ///< the node is drained: nothing waits for sandboxes that do not come
};

/// Keeps the pools that [pool] names: ready VMs of a template's own size, of its latest version.
PoolKeeperActor::behavior_type pool_keeper(PoolKeeperActor::stateful_pointer<PoolKeeperState> self,
                                           SharedServices services, BootConcerns concerns, VmmStockActor stock,
                                           RunRecorderActor recorder, std::shared_ptr<PoolVms> vms);

}  // namespace nanobox
