#include <cstdio>

#include "tools/nanobox-inspect/commands.hpp"
#include "tools/nanobox-inspect/grid.hpp"
#include "tools/nanobox-inspect/paper.hpp"
#include "tools/nanobox-inspect/run_options.hpp"
#include "tools/nanobox-inspect/stage_json.hpp"
#include "tools/nanobox/output.hpp"

namespace nanobox::inspection {
namespace {

std::string percent_text(double share) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f %%", share * 100);
  return text;
}

Result<int> show_hotspots(cli::Session& session) {
  const auto server = NANOBOX_TRY(session.server());
  cli::ApiClient client(server.address, &session.interruption);
  auto query = run_query_of(session.arguments);
  query.since_us =
      NANOBOX_TRY(moment_option(session.arguments, "since", "10m", NANOBOX_TRY(ask_server_now_us(client))));
  const auto runs = NANOBOX_TRY(fetch_runs(client, query));
  const auto stats = stage_stats(runs);
  if (session.json()) {
    NANOBOX_TRY(cli::print_json(hotspots_json(*query.since_us, runs.size(), stats)));
    return kFine;
  }
  Grid grid({{.head = "STAGE", .shrinks_to = 14},
             {.head = "RUNS", .right = true},
             {.head = "FAIL", .right = true},
             {.head = "P50", .right = true},
             {.head = "P95", .right = true},
             {.head = "P99", .right = true},
             {.head = "MAX", .right = true},
             {.head = "TOTAL", .right = true},
             {.head = "SHARE", .right = true},
             {.head = "RETRIES", .right = true}});
  for (const auto& stage : stats)
    grid.add({{stage.pipeline + "/" + stage.stage},
              {std::to_string(stage.count)},
              {std::to_string(stage.failures), stage.failures > 0 ? ink::red : ink::dim},
              {span_text(stage.p50_us)},
              {span_text(stage.p95_us)},
              {span_text(stage.p99_us)},
              {span_text(stage.max_us)},
              {span_text(stage.total_us)},
              {percent_text(stage.share), stage.share >= 0.25 ? ink::yellow : ink::none},
              {std::to_string(stage.retries), stage.retries > 0 ? ink::yellow : ink::dim}});
  const auto paper = paper_of(session);
  if (stats.empty())
    cli::tell("no stage ran since " + time_text(*query.since_us));
  else
    NANOBOX_TRY(cli::print_text(grid.text(paper.style, paper.columns)));
  return kFine;
}

}  // namespace

cli::CommandSpec hotspots_command_spec() {
  return {.name = "hotspots",
          .usage = "",
          .summary = "where time goes, by stage",
          .lesson =
              "Counts, percentiles and the share of all stages' time, the most first, over the runs created since\n"
              "then. Stages that still run do not count.\n\n"
              "  nanobox-inspect hotspots --since 1h --kind boot\n\n"
              "Exit codes: 0 fine, 1 the request failed, 2 usage.",
          .options = with_run_options({{"since", 0, "TIME", "90s, 10m, 2h, 1d ago, or a time (10m)"}}),
          .most_words = 0,
          .check = [](const cli::Arguments& arguments) { return check_moment(arguments, "since"); },
          .run = show_hotspots};
}

}  // namespace nanobox::inspection
