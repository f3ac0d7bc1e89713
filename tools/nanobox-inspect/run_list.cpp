#include "tools/nanobox-inspect/run_list.hpp"

#include <algorithm>
#include <set>

namespace nanobox::inspection {

std::string where_text(const RunView& run) {
  const auto* stage = telling_stage(run);
  if (stage == nullptr) return run.error ? run.error->code : "";
  if (stage->status == "failed") {
    const auto& failure = stage->error ? stage->error : run.error;
    return stage->name + (failure ? ": " + failure->code : " failed");
  }
  auto text = stage->name;
  if (stage->total_bytes > 0)
    text += " " + std::to_string(std::min<std::uint64_t>(100, stage->bytes * 100 / stage->total_bytes)) + " %";
  if (stage->attempts > 1) text += ", try " + std::to_string(stage->attempts);
  return text;
}

Grid run_list(const std::vector<RunView>& runs, std::int64_t now_us, std::size_t selected) {
  std::set<std::string> nodes;
  for (const auto& run : runs) nodes.insert(run.node_id);
  const bool several = nodes.size() > 1;
  const bool marks = selected < runs.size();
  std::vector<GridColumn> columns;
  if (marks) columns.push_back({.head = " "});
  // An id is whole where it may be copied from.
  columns.push_back({.head = "RUN", .in_middle = true, .shrinks_to = marks ? 9U : 1000U});
  columns.push_back({.head = "KIND"});
  columns.push_back({.head = "SUBJECT", .in_middle = true, .shrinks_to = 9});
  columns.push_back({.head = "STATUS"});
  if (several) columns.push_back({.head = "NODE", .shrinks_to = 6});
  columns.push_back({.head = "AGE", .right = true});
  columns.push_back({.head = "TIME", .right = true});
  columns.push_back({.head = "WHERE", .shrinks_to = 10});
  Grid grid(std::move(columns));
  for (std::size_t at = 0; at < runs.size(); ++at) {
    const auto& run = runs[at];
    std::vector<GridCell> row;
    if (marks) row.push_back({at == selected ? ">" : " "});
    row.push_back({run.id});
    row.push_back({run.pipeline});
    row.push_back({run.subject});
    row.push_back({run.status, ink_of_status(run.status)});
    if (several) row.push_back({run.node_id});
    row.push_back({ago_text(run.created_us, now_us)});
    row.push_back({run.started_us ? span_text(run.duration_us) : ""});
    row.push_back({where_text(run), run.status == "failed" ? ink::red : ink::none});
    if (marks && at == selected)
      for (auto& cell : row) cell.ink = ink::reverse;
    grid.add(std::move(row));
  }
  return grid;
}

}  // namespace nanobox::inspection
