#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tools/nanobox-inspect/actor_view.hpp"
#include "tools/nanobox-inspect/run_view.hpp"
#include "tools/nanobox-inspect/stage_stats.hpp"
#include "tools/nanobox-inspect/top_keys.hpp"
#include "tools/nanobox/raw_terminal.hpp"

namespace nanobox::inspection {

struct NodeView {
  std::string id;
  std::string status;
  std::string reason;
  std::int64_t sandboxes = 0;
  std::int64_t vcpu_used = 0, vcpu_total = 0;
  std::int64_t memory_used_mb = 0, memory_total_mb = 0;
};

struct PoolView {
  std::string name;  ///< the template's
  std::int64_t ready = 0, least = 0, most = 0;
  std::string problem;
};

/// What a server was seen to do.
struct TopData {
  std::string server;
  std::int64_t now_us = 0;
  std::vector<RunView> runs;  ///< newest first: those of the window, and those that go on
  std::vector<std::pair<std::string, std::int64_t>> sandboxes;  ///< how many in each state
  std::vector<ActorView> actors;
  std::string no_actors;  ///< why there are none to show
  std::vector<NodeView> nodes;
  std::string no_nodes;
  std::vector<PoolView> pools;
  std::string problem;            ///< why this is not the newest; empty: it is
  std::optional<RunView> opened;  ///< the one looked at
};

enum class StageOrder { time, rate, p95, failures, name };
enum class RunOrder { newest, slowest, failed };

/// What is looked at, and how.
struct TopState {
  std::int64_t window_sec = 60;
  StageOrder stages = StageOrder::time;
  RunOrder runs = RunOrder::newest;
  std::string selected;  ///< a run's id; empty: the first
  std::string opened;    ///< a run's id; empty: the overview
  std::size_t scrolled = 0;
  bool paused = false;
  bool help = false;
};

/// What a key does. @returns false: to leave
bool press(TopState& state, const TopData& data, Key key, cli::TerminalSize size);

/// The runs in the order they are shown.
std::vector<RunView> ordered_runs(const TopData& data, RunOrder order);
/// The stages of the window in the order they are shown.
std::vector<StageStats> ordered_stages(const TopData& data, StageOrder order);

/// The whole screen: no more lines than it has rows, none wider than it.
std::vector<std::string> draw_top(Style style, const TopData& data, const TopState& state, cli::TerminalSize size);

}  // namespace nanobox::inspection
