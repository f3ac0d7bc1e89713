#include "tools/nanobox-inspect/top_frame.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <map>

#include "tools/nanobox-inspect/grid.hpp"
#include "tools/nanobox-inspect/run_list.hpp"
#include "tools/nanobox-inspect/time_window.hpp"
#include "tools/nanobox-inspect/waterfall.hpp"
#include "tools/nanobox/table.hpp"

namespace nanobox::inspection {
namespace {

constexpr std::array<std::int64_t, 5> kWindows = {60, 300, 900, 3600, 21'600};
/// From so many columns on, actors, nodes and pools stand beside the stages.
constexpr std::size_t kWide = 120;

std::string window_text(std::int64_t seconds) {
  if (seconds % 3600 == 0) return std::to_string(seconds / 3600) + "h";
  if (seconds % 60 == 0) return std::to_string(seconds / 60) + "m";
  return std::to_string(seconds) + "s";
}

std::string per_second(double count, std::int64_t seconds) {
  char text[32];
  const double rate = count / static_cast<double>(std::max<std::int64_t>(1, seconds));
  std::snprintf(text, sizeof text, rate < 10 ? "%.2f/s" : "%.0f/s", rate);
  return text;
}

std::string percent_text(double share) {
  char text[32];
  std::snprintf(text, sizeof text, "%.0f %%", share * 100);
  return text;
}

std::string gib_text(std::int64_t mebibytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f", static_cast<double>(mebibytes) / 1024);
  return text;
}

std::string_view name_of(StageOrder order) {
  switch (order) {
    case StageOrder::time:
      return "time";
    case StageOrder::rate:
      return "rate";
    case StageOrder::p95:
      return "p95";
    case StageOrder::failures:
      return "failures";
    case StageOrder::name:
      return "name";
  }
  return "";
}

std::string_view name_of(RunOrder order) {
  switch (order) {
    case RunOrder::newest:
      return "newest";
    case RunOrder::slowest:
      return "slowest";
    case RunOrder::failed:
      return "failed";
  }
  return "";
}

/// Lines of which only so many are shown; the last one then says how many there are more.
std::vector<std::string> first_lines(Style style, std::vector<std::string> lines, std::size_t most) {
  if (lines.size() <= most) return lines;
  // A head and what is hidden is not worth the rows.
  if (most < 3) return {};
  const auto hidden = lines.size() - most + 1;
  lines.resize(most);
  lines.back() = painted(style, ink::dim, "  " + std::to_string(hidden) + " more");
  return lines;
}

struct Wish {
  std::size_t wanted;
  std::size_t least;  ///< is given first, where it is wanted
  std::size_t weight;
};

/// How many rows each gets: nobody more than it wants.
std::vector<std::size_t> share_out(std::size_t rows, const std::vector<Wish>& wishes) {
  std::vector<std::size_t> given;
  for (const auto& wish : wishes) {
    given.push_back(std::min({rows, wish.wanted, wish.least}));
    rows -= given.back();
  }
  for (bool any = true; any && rows > 0;) {
    any = false;
    for (std::size_t at = 0; at < wishes.size(); ++at) {
      const auto more = std::min({rows, wishes[at].weight, wishes[at].wanted - given[at]});
      given[at] += more;
      rows -= more;
      any |= more > 0;
    }
  }
  return given;
}

std::vector<std::string> stage_panel(Style style, const TopData& data, const TopState& state, std::size_t columns) {
  Grid grid({{.head = "STAGE", .shrinks_to = 14},
             {.head = "RATE", .right = true},
             {.head = "NOW", .right = true},
             {.head = "P50", .right = true},
             {.head = "P95", .right = true},
             {.head = "MAX", .right = true},
             {.head = "SHARE", .right = true},
             {.head = "FAILED", .right = true},
             {.head = "MOVED", .right = true}});
  for (const auto& stage : ordered_stages(data, state.stages))
    grid.add({{stage.pipeline + "/" + stage.stage},
              {per_second(static_cast<double>(stage.count), state.window_sec)},
              {stage.running > 0 ? std::to_string(stage.running) : "", ink::cyan},
              {stage.count > 0 ? span_text(stage.p50_us) : ""},
              {stage.count > 0 ? span_text(stage.p95_us) : ""},
              {stage.count > 0 ? span_text(stage.max_us) : ""},
              {percent_text(stage.share)},
              {stage.failures > 0 ? std::to_string(stage.failures) : "", ink::red},
              {rate_text(stage.bytes, state.window_sec * 1'000'000)}});
  return grid.lines(style, columns);
}

std::vector<std::string> actor_panel(Style style, const TopData& data, std::size_t columns) {
  if (data.actors.empty())
    return {painted(style, ink::bold, "ACTOR"),
            painted(style, ink::dim, fitted(style, data.no_actors.empty() ? "none" : data.no_actors, columns))};
  auto actors = data.actors;
  std::ranges::stable_sort(actors, [](const auto& left, const auto& right) {
    return std::tuple(left.unsteady, left.mailbox, left.wait_us) >
           std::tuple(right.unsteady, right.mailbox, right.wait_us);
  });
  // Where there is no room for errors, names are worth more; 'actors' has them whole.
  const bool with_error = columns >= 60;
  std::vector<GridColumn> heads = {{.head = "ACTOR", .shrinks_to = 16},
                                   {.head = "MAILBOX", .right = true},
                                   {.head = "WAIT", .right = true},
                                   {.head = "RESTARTS", .right = true}};
  if (with_error) heads.push_back({.head = "LAST ERROR", .shrinks_to = 10});
  Grid grid(std::move(heads));
  for (const auto& actor : actors) {
    std::vector<GridCell> row = {{actor.id + (actor.count != 1 ? " x" + std::to_string(actor.count) : ""),
                                  actor.unsteady ? ink::red : ink::none},
                                 {std::to_string(actor.mailbox), actor.mailbox > 0 ? ink::yellow : ink::none},
                                 {span_text(actor.wait_us)},
                                 {actor.restarts > 0 ? std::to_string(actor.restarts) : "", ink::yellow}};
    if (with_error) row.push_back({actor.last_error, ink::red});
    grid.add(std::move(row));
  }
  return grid.lines(style, columns);
}

std::vector<std::string> node_panel(Style style, const TopData& data, std::size_t columns) {
  if (data.nodes.empty())
    return {painted(style, ink::bold, "NODE"),
            painted(style, ink::dim, fitted(style, data.no_nodes.empty() ? "none" : data.no_nodes, columns))};
  Grid grid({{.head = "NODE", .shrinks_to = 10},
             {.head = "STATUS"},
             {.head = "SANDBOXES", .right = true},
             {.head = "MEMORY", .right = true},
             {.head = "VCPU", .right = true},
             {.head = "REASON", .shrinks_to = 6}});
  for (const auto& node : data.nodes)
    grid.add({{node.id},
              {node.status, ink_of_status(node.status)},
              {std::to_string(node.sandboxes)},
              {gib_text(node.memory_used_mb) + "/" + gib_text(node.memory_total_mb) + " GiB"},
              {std::to_string(node.vcpu_used) + "/" + std::to_string(node.vcpu_total)},
              {node.reason, ink::yellow}});
  return grid.lines(style, columns);
}

std::vector<std::string> pool_panel(Style style, const TopData& data, std::size_t columns) {
  if (data.pools.empty()) return {};
  Grid grid({{.head = "POOL", .shrinks_to = 10},
             {.head = "READY", .right = true},
             {.head = "LEAST", .right = true},
             {.head = "MOST", .right = true},
             {.head = "PROBLEM", .shrinks_to = 6}});
  for (const auto& pool : data.pools)
    grid.add({{pool.name},
              {std::to_string(pool.ready), pool.ready < pool.least ? ink::yellow : ink::green},
              {std::to_string(pool.least)},
              {std::to_string(pool.most)},
              {pool.problem, ink::red}});
  return grid.lines(style, columns);
}

/// Rows of which the selected one is among those shown.
std::vector<std::string> run_panel(Style style, const TopData& data, const TopState& state, std::size_t columns,
                                   std::size_t rows) {
  if (rows < 2) return {};
  const auto runs = ordered_runs(data, state.runs);
  if (runs.empty())
    return {painted(style, ink::bold, "RUN"),
            painted(style, ink::dim, fitted(style, "no runs in the last " + window_text(state.window_sec), columns))};
  auto selected = static_cast<std::size_t>(std::ranges::find(runs, state.selected, &RunView::id) - runs.begin());
  if (selected >= runs.size()) selected = 0;
  const auto shown = std::min(rows - 1, runs.size());
  const auto first = std::min(selected < shown / 2 ? 0 : selected - shown / 2, runs.size() - shown);
  const std::vector<RunView> part(runs.begin() + static_cast<std::ptrdiff_t>(first),
                                  runs.begin() + static_cast<std::ptrdiff_t>(first + shown));
  return run_list(part, data.now_us, selected - first).lines(style, columns);
}

std::string summary(Style style, const TopData& data, const TopState& state, std::size_t columns) {
  std::map<std::string, std::size_t> by_status;
  for (const auto& run : data.runs) ++by_status[run.status];
  std::string text = "sandboxes";
  bool any = false;
  for (const auto& [status, count] : data.sandboxes)
    if (count > 0) {
      text += (any ? ", " : ": ") + std::to_string(count) + " " + status;
      any = true;
    }
  if (!any) text += ": none";
  const auto ended = by_status["succeeded"] + by_status["failed"] + by_status["cancelled"];
  text += "; runs " + per_second(static_cast<double>(ended), state.window_sec) + ": " +
          std::to_string(by_status["running"]) + " running, " + std::to_string(by_status["queued"]) + " queued, " +
          std::to_string(ended) + " ended";
  if (by_status["failed"] > 0) text += ", " + std::to_string(by_status["failed"]) + " failed";
  return fitted(style, text, columns);
}

std::string slowest_line(Style style, const TopData& data, const TopState& state, std::size_t columns) {
  if (!data.problem.empty()) return painted(style, ink::red, fitted(style, data.problem, columns));
  const auto stages = ordered_stages(data, StageOrder::p95);
  if (stages.empty() || stages.front().count == 0)
    return painted(style, ink::dim,
                   fitted(style, "no stage ended in the last " + window_text(state.window_sec), columns));
  const auto& slowest = stages.front();
  return painted(style, ink::yellow,
                 fitted(style,
                        "slowest: " + slowest.pipeline + "/" + slowest.stage + ", p95 " + span_text(slowest.p95_us) +
                            ", " + percent_text(slowest.share) + " of all stages' time",
                        columns));
}

std::string title(Style style, const TopData& data, const TopState& state, std::size_t columns) {
  const auto right =
      clock_text(data.now_us) + " UTC, last " + window_text(state.window_sec) + (state.paused ? ", PAUSED" : "");
  const auto left = "NanoBox at " + data.server;
  const auto room = columns - std::min(columns, right.size() + 2);
  return painted(style, ink::reverse, fitted(style, fitted(style, left, room) + "  " + right, columns));
}

std::vector<std::string> beside(const std::vector<std::string>& left, const std::vector<std::string>& right,
                                std::size_t left_columns) {
  std::vector<std::string> lines;
  for (std::size_t at = 0; at < std::max(left.size(), right.size()); ++at) {
    auto line = at < left.size() ? left[at] : std::string();
    if (at < right.size()) line = filled(std::move(line), left_columns) + right[at];
    lines.push_back(std::move(line));
  }
  return lines;
}

void append(std::vector<std::string>& lines, std::vector<std::string> more) {
  lines.insert(lines.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
}

/// Panels below each other in so many rows.
std::vector<std::string> stacked(Style style, std::vector<std::vector<std::string>> panels, std::size_t rows,
                                 const std::vector<std::size_t>& least) {
  std::vector<Wish> wishes;
  for (std::size_t at = 0; at < panels.size(); ++at)
    wishes.push_back({.wanted = panels[at].size(), .least = least[at], .weight = at == 0 ? 2U : 1U});
  const auto parts = share_out(rows, wishes);
  std::vector<std::string> lines;
  for (std::size_t at = 0; at < panels.size(); ++at)
    append(lines, first_lines(style, std::move(panels[at]), parts[at]));
  return lines;
}

std::vector<std::string> overview(Style style, const TopData& data, const TopState& state, std::size_t columns,
                                  std::size_t rows) {
  std::vector<std::string> lines = {summary(style, data, state, columns), slowest_line(style, data, state, columns)};
  const auto room = rows - std::min(rows, lines.size());
  const auto runs_wanted = std::max<std::size_t>(data.runs.size(), 1) + 1;
  if (columns >= kWide) {
    const auto left_columns = columns * 3 / 5, right_columns = columns - left_columns;
    auto stages = stage_panel(style, data, state, left_columns - 3);
    std::vector<std::vector<std::string>> right = {actor_panel(style, data, right_columns),
                                                   node_panel(style, data, right_columns),
                                                   pool_panel(style, data, right_columns)};
    const auto right_rows = right[0].size() + right[1].size() + right[2].size();
    const auto parts = share_out(room, {{.wanted = std::max(stages.size(), right_rows), .least = 12, .weight = 1},
                                        {.wanted = runs_wanted, .least = 5, .weight = 1}});
    append(lines, beside(first_lines(style, std::move(stages), parts[0]),
                         stacked(style, std::move(right), parts[0], {3, 3, 2}), left_columns));
  } else {
    std::vector<std::vector<std::string>> panels = {stage_panel(style, data, state, columns),
                                                    actor_panel(style, data, columns), node_panel(style, data, columns),
                                                    pool_panel(style, data, columns)};
    const auto above = panels[0].size() + panels[1].size() + panels[2].size() + panels[3].size();
    const auto parts =
        share_out(room, {{.wanted = above, .least = 9, .weight = 3}, {.wanted = runs_wanted, .least = 4, .weight = 1}});
    append(lines, stacked(style, std::move(panels), parts[0], {4, 3, 3, 2}));
  }
  append(lines, run_panel(style, data, state, columns, rows - std::min(rows, lines.size())));
  return lines;
}

const RunView* opened_run(const TopData& data, const TopState& state) {
  const auto found = std::ranges::find(data.runs, state.opened, &RunView::id);
  if (found != data.runs.end()) return &*found;
  return data.opened && data.opened->id == state.opened ? &*data.opened : nullptr;
}

std::vector<std::string> opened_lines(Style style, const TopData& data, const TopState& state, std::size_t columns) {
  const auto* run = opened_run(data, state);
  if (run == nullptr) return {fitted(style, "run " + state.opened + " is not known any more", columns)};
  auto lines = waterfall(style, *run, columns, data.now_us);
  if (!data.problem.empty())
    lines.insert(lines.begin(), painted(style, ink::red, fitted(style, data.problem, columns)));
  return lines;
}

std::vector<std::string> help_lines(Style style, std::size_t columns) {
  std::vector<std::string> lines;
  for (const char* line :
       {"  up, down, j, k        choose a run", "  page up, page down    by a screenful",
        "  home, end, g, G       first, last",
        "  enter, right          open the run: its stages on one scale, why it failed", "  esc, left, backspace  back",
        "  s                     order of stages: time, rate, p95, failures, name",
        "  o                     order of runs: newest, slowest, failed first",
        "  w                     window: 1m, 5m, 15m, 1h, 6h", "  p, space              hold what is shown, or go on",
        "  ?, h                  this text", "  q, ^C                 leave", "",
        "  RATE: how many ended. NOW: how many run. SHARE: of all stages' time.",
        "  MOVED: bytes by second. All of it is of the window at the top right."})
    lines.push_back(fitted(style, line, columns));
  return lines;
}

std::string footer(Style style, const TopState& state, std::size_t columns) {
  std::string text;
  if (state.help || !state.opened.empty())
    text = "esc back  up/down scroll  p pause  q quit";
  else
    text = "enter open  s by " + std::string(name_of(state.stages)) + "  o by " + std::string(name_of(state.runs)) +
           "  w window  p pause  ? help  q quit";
  return painted(style, ink::dim, fitted(style, text, columns));
}

template <class Order>
Order next_of(Order order, Order last) {
  return order == last ? Order{} : static_cast<Order>(static_cast<int>(order) + 1);
}

void move(TopState& state, const TopData& data, std::ptrdiff_t by) {
  const auto runs = ordered_runs(data, state.runs);
  if (runs.empty()) return;
  auto at = std::ranges::find(runs, state.selected, &RunView::id) - runs.begin();
  if (at == static_cast<std::ptrdiff_t>(runs.size())) at = 0;
  at = std::clamp<std::ptrdiff_t>(at + by, 0, static_cast<std::ptrdiff_t>(runs.size()) - 1);
  state.selected = runs[static_cast<std::size_t>(at)].id;
}

void scroll(TopState& state, const TopData& data, std::ptrdiff_t by, cli::TerminalSize size) {
  const auto lines = opened_lines({}, data, state, size.columns).size();
  const auto room = static_cast<std::size_t>(std::max(3U, size.rows) - 2);
  const auto most = static_cast<std::ptrdiff_t>(lines > room ? lines - room : 0);
  const auto now = std::min(static_cast<std::ptrdiff_t>(state.scrolled), most);
  state.scrolled = static_cast<std::size_t>(std::clamp<std::ptrdiff_t>(now + by, 0, most));
}

}  // namespace

std::vector<RunView> ordered_runs(const TopData& data, RunOrder order) {
  auto runs = data.runs;
  if (order == RunOrder::slowest)
    std::ranges::stable_sort(runs, [](const auto& l, const auto& r) { return l.duration_us > r.duration_us; });
  if (order == RunOrder::failed)
    std::stable_partition(runs.begin(), runs.end(), [](const auto& run) { return run.status == "failed"; });
  return runs;
}

std::vector<StageStats> ordered_stages(const TopData& data, StageOrder order) {
  auto stages = stage_stats(data.runs);
  std::ranges::stable_sort(stages, [order](const auto& left, const auto& right) {
    switch (order) {
      case StageOrder::time:
        return left.total_us > right.total_us;
      case StageOrder::rate:
        return left.count > right.count;
      case StageOrder::p95:
        return left.p95_us > right.p95_us;
      case StageOrder::failures:
        return left.failures > right.failures;
      case StageOrder::name:
        return std::tie(left.pipeline, left.stage) < std::tie(right.pipeline, right.stage);
    }
    return false;
  });
  return stages;
}

bool press(TopState& state, const TopData& data, Key key, cli::TerminalSize size) {
  constexpr std::ptrdiff_t kFar = 1'000'000;
  const auto page = static_cast<std::ptrdiff_t>(std::max(8U, size.rows) / 2);
  const bool in_overview = state.opened.empty();
  const auto go = [&](std::ptrdiff_t by) {
    if (in_overview)
      move(state, data, by);
    else
      scroll(state, data, by, size);
  };
  if (state.help && key != Key::quit) {
    state.help = false;
    return true;
  }
  switch (key) {
    case Key::up:
      go(-1);
      break;
    case Key::down:
      go(1);
      break;
    case Key::page_up:
      go(-page);
      break;
    case Key::page_down:
      go(page);
      break;
    case Key::home:
      go(-kFar);
      break;
    case Key::end:
      go(kFar);
      break;
    case Key::enter:
      if (!in_overview) break;
      move(state, data, 0);
      state.opened = state.selected;
      state.scrolled = 0;
      break;
    case Key::back:
      state.opened.clear();
      break;
    case Key::quit:
      return false;
    case Key::order_stages:
      state.stages = next_of(state.stages, StageOrder::name);
      break;
    case Key::order_runs:
      state.runs = next_of(state.runs, RunOrder::failed);
      break;
    case Key::window: {
      const auto longer = std::ranges::upper_bound(kWindows, state.window_sec);
      state.window_sec = longer == kWindows.end() ? kWindows.front() : *longer;
      break;
    }
    case Key::pause:
      state.paused = !state.paused;
      break;
    case Key::help:
      state.help = true;
      break;
    case Key::redraw:
      break;
  }
  return true;
}

std::vector<std::string> draw_top(Style style, const TopData& data, const TopState& state, cli::TerminalSize size) {
  const std::size_t columns = std::max(20U, size.columns), rows = std::max(4U, size.rows);
  std::vector<std::string> lines = {title(style, data, state, columns)};
  const auto room = rows - 2;
  std::vector<std::string> body;
  if (state.help) {
    body = help_lines(style, columns);
  } else if (!state.opened.empty()) {
    body = opened_lines(style, data, state, columns);
    const auto most = body.size() > room ? body.size() - room : 0;
    body.erase(body.begin(), body.begin() + static_cast<std::ptrdiff_t>(std::min(state.scrolled, most)));
  } else {
    body = overview(style, data, state, columns, room);
  }
  body.resize(room);
  append(lines, std::move(body));
  lines.push_back(footer(style, state, columns));
  return lines;
}

}  // namespace nanobox::inspection
