#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "pipeline/board.hpp"
#include "pipeline/cluster/node_report.hpp"
#include "pipeline/pool.hpp"
#include "pipeline/run.hpp"
#include "pipeline/sandbox.hpp"
#include "pipeline/template.hpp"

namespace nanobox {

/// How a concern fares that died and was started again.
struct ConcernHealth {
  std::string concern;
  std::vector<std::chrono::steady_clock::time_point> deaths;  ///< the recent ones
  std::string reason;                                         ///< of the last
  std::optional<std::chrono::steady_clock::time_point> unsteady_until;
};

/// What readers may see without asking an actor. Each board has one writing actor.
struct Boards {
  Board<RunRecord> runs;          ///< run_recorder; by run id, the newest 1000
  Board<Template> templates;      ///< template_registry; by owner + "/" + name
  Board<Sandbox> sandboxes;       ///< sandbox_registry; by id
  Board<PoolState> pools;         ///< pool_keeper; by owner + "/" + template
  Board<NodeStatus> nodes;        ///< node_registry, of a control plane; by node id
  Board<ConcernHealth> concerns;  ///< the supervisor of each concern; those that never died are not there
};

/// The key of a template on its board and in the store.
inline std::string template_key(const std::string& owner, const std::string& name) {
  return owner + "/" + name;
}

}  // namespace nanobox
