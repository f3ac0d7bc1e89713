#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "pipeline/board.hpp"
#include "pipeline/cluster/node_report.hpp"
#include "pipeline/insight/sandbox_death.hpp"
#include "pipeline/pool.hpp"
#include "pipeline/run.hpp"
#include "pipeline/sandbox.hpp"
#include "pipeline/template.hpp"

namespace nanobox {

/// What is counted of a concern while it runs. Thread-safe.
struct ConcernGauge {
  std::atomic<std::uint64_t> handed{0};   ///< messages that it was handed
  std::atomic<std::uint64_t> mailbox{0};  ///< of them, those that waited when it was last looked at
  std::atomic<std::int64_t> wait_us{0};   ///< how long a message then waited
};

/// How a concern fares.
struct ConcernHealth {
  std::string concern;
  std::shared_ptr<const ConcernGauge> gauge;
  std::uint64_t restarts = 0;
  std::vector<std::chrono::steady_clock::time_point> deaths;  ///< the recent ones
  std::string reason;                                         ///< of the last
  std::optional<std::chrono::steady_clock::time_point> unsteady_until;
};

/// What readers may see without asking an actor. Each board has one writing actor.
struct Boards {
  Board<RunRecord> runs;          ///< run_recorder; by run id, the newest that ended
  Board<Template> templates;      ///< template_registry; by owner + "/" + name
  Board<Sandbox> sandboxes;       ///< sandbox_registry; by id
  Board<Sandbox> kept_states;     ///< sandbox_registry; by saved_name: what is kept for other nodes (kept_states.hpp)
  Board<SandboxDeath> deaths;     ///< sandbox_registry, of a control plane its directory; by sandbox id, for an hour
  Board<PoolState> pools;         ///< pool_keeper; by owner + "/" + template
  Board<NodeStatus> nodes;        ///< node_registry, of a control plane; by node id
  Board<ConcernHealth> concerns;  ///< the supervisor of each concern; by its name
};

/// All that stands on files of this node: its sandboxes, and the states that it keeps for others.
inline std::vector<std::shared_ptr<const Sandbox>> all_with_files(const Boards& boards) {
  auto all = boards.sandboxes.all();
  for (auto& kept : boards.kept_states.all()) all.push_back(std::move(kept));
  return all;
}

/// The key of a template on its board and in the store.
inline std::string template_key(const std::string& owner, const std::string& name) {
  return owner + "/" + name;
}

}  // namespace nanobox
