#pragma once

#include <chrono>
#include <map>
#include <string>
#include <vector>

#include "pipeline/cluster/node_report.hpp"
#include "pipeline/events/event.hpp"

namespace nanobox {

/// What was last told of sandboxes, templates, nodes and concerns, and by that which changes are events. Told the same
/// twice it says nothing the second time. What was there before it began is no event until it changes. Not thread-safe.
class ChangeLog {
public:
  using Events = std::vector<NewEvent>;
  using Clock = std::chrono::steady_clock;
  /// How long the end of a sandbox waits for its cause, which is told on another way.
  static constexpr std::chrono::milliseconds kCauseWait{1'000};

  explicit ChangeLog(WallTime begun) : begun_(begun) {}

  Events sandbox(const Sandbox& now);
  /// It is gone. Nothing follows at once where its cause is not known yet: see `late_ends`.
  Events sandbox_gone(const std::string& id, const SandboxDeath* death, Clock::time_point now);
  Events death(const SandboxDeath& death);
  /// The ends whose cause nobody told.
  Events late_ends(Clock::time_point now);
  bool awaits_causes() const { return !ending_.empty(); }

  Events entry(const Template& now);
  Events entry_gone(const std::string& owner, const std::string& name);
  Events run(const RunRecord& run);

  Events node(const NodeStatus& now);
  Events node_gone(const std::string& node_id);

  /// @param reason  of its last death
  Events concern(const std::string& name, std::uint64_t restarts, const std::string& reason);

  /// Of what it knows to be there: by sandbox id, by (owner, name), by node id.
  std::vector<std::string> sandboxes() const;
  std::vector<std::pair<std::string, std::string>> entries() const;
  std::vector<std::string> nodes() const;

private:
  struct Ending {
    Sandbox last;
    Clock::time_point give_up;
  };
  struct Entry {
    std::string told;  ///< the last event's type
    std::string operation_id;
    std::string node_id;
    std::string image;
  };
  struct Known {
    NodeState state = NodeState::lost;
    std::map<std::string, std::uint64_t> restarts;  ///< of its concerns
  };
  void node_concerns(const NodeStatus& now, Known& known, Events& events);

  const WallTime begun_;
  std::map<std::string, Sandbox> sandboxes_;
  std::map<std::string, Ending> ending_;
  std::map<std::pair<std::string, std::string>, Entry> entries_;
  std::map<std::string, Known> nodes_;
  std::map<std::string, std::uint64_t> restarts_;  ///< of the control plane's concerns
};

}  // namespace nanobox
