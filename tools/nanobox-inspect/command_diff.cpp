#include <charconv>
#include <cmath>
#include <cstdio>

#include "config/clock.hpp"
#include "tools/nanobox-inspect/commands.hpp"
#include "tools/nanobox-inspect/comparison.hpp"
#include "tools/nanobox-inspect/grid.hpp"
#include "tools/nanobox-inspect/paper.hpp"
#include "tools/nanobox-inspect/run_options.hpp"
#include "tools/nanobox-inspect/stage_json.hpp"
#include "tools/nanobox/output.hpp"

namespace nanobox::inspection {
namespace {

/// What is compared with what: words, or --a and --b.
struct Sides {
  std::string a, b;
};

bool is_window(const std::string& side) {
  return side.find("..") != std::string::npos;
}

tl::unexpected<Error> refuse(std::string subject, std::string reason, std::string mend) {
  return fail({.code = ErrorCode::invalid_value,
               .attempted = "read command line",
               .subject = std::move(subject),
               .reason = std::move(reason),
               .mend = std::move(mend)});
}

Result<Sides> sides_of(const cli::Arguments& arguments) {
  const auto a = arguments.value("a"), b = arguments.value("b");
  if (a.has_value() != b.has_value()) return refuse(a ? "--b" : "--a", "it is missing", "give both, or two words");
  if (a && !arguments.words.empty()) return refuse(arguments.words[0], "--a and --b say what to compare already", "");
  if (!a && arguments.words.size() != 2)
    return refuse("", "two things to compare are needed", "usage: nanobox-inspect diff A B");
  Sides sides = a ? Sides{*a, *b} : Sides{arguments.words[0], arguments.words[1]};
  if (is_window(sides.a) != is_window(sides.b))
    return refuse("", "a run and a window of time do not compare", "give two runs, or two windows like 10m..5m");
  return sides;
}

/// "20", "20%" or "7.5".
Result<std::optional<double>> threshold_of(const cli::Arguments& arguments) {
  const auto text = arguments.value("threshold");
  if (!text) return std::nullopt;
  std::string_view digits = *text;
  if (digits.ends_with('%')) digits.remove_suffix(1);
  double percent = 0;
  const auto [end, problem] = std::from_chars(digits.data(), digits.data() + digits.size(), percent);
  if (problem != std::errc{} || end != digits.data() + digits.size() || !std::isfinite(percent) || percent < 0)
    return refuse("--threshold " + *text, "it is no share", "write percent: 20 or 20%");
  return percent;
}

Result<void> check_diff(const cli::Arguments& arguments) {
  const auto sides = NANOBOX_TRY(sides_of(arguments));
  const auto now = precise_now().time_since_epoch().count();
  for (const auto& side : {sides.a, sides.b})
    if (is_window(side)) NANOBOX_TRY(parse_window(side, now));
  NANOBOX_TRY(threshold_of(arguments));
  NANOBOX_TRY(cli::number_option(arguments, "least", 0, 3'600'000));
  return {};
}

Result<std::vector<RunView>> runs_of(cli::ApiClient& client, const cli::Arguments& arguments, const std::string& side,
                                     std::int64_t now_us) {
  if (!is_window(side)) {
    auto found = NANOBOX_TRY(find_run(client, side, arguments.has("all")));
    return std::vector<RunView>{std::move(found.run)};
  }
  const auto window = NANOBOX_TRY(parse_window(side, now_us));
  auto query = run_query_of(arguments);
  query.since_us = window.from_us;
  auto runs = NANOBOX_TRY(fetch_runs(client, query));
  std::erase_if(runs, [&](const RunView& run) { return !window.holds(run.created_us); });
  return runs;
}

std::string signed_span(std::int64_t microseconds) {
  if (microseconds == 0) return "0";
  return (microseconds > 0 ? "+" : "-") + span_text(std::abs(microseconds));
}

std::string ratio_text(const StageChange& change) {
  const auto ratio = change.ratio();
  if (!ratio) return "";
  char text[32];
  std::snprintf(text, sizeof text, *ratio < 100 ? "%.2fx" : "%.0fx", *ratio);
  return text;
}

Grid table_of(const std::vector<StageChange>& changes, bool windows) {
  std::vector<GridColumn> columns = {{.head = "STAGE", .shrinks_to = 14},
                                     {.head = "A", .right = true},
                                     {.head = "B", .right = true},
                                     {.head = "SLOWER", .right = true},
                                     {.head = "RATIO", .right = true}};
  if (windows)
    columns.insert(columns.end(), {{.head = "P95 A", .right = true},
                                   {.head = "P95 B", .right = true},
                                   {.head = "#A", .right = true},
                                   {.head = "#B", .right = true}});
  Grid grid(std::move(columns));
  for (const auto& change : changes) {
    const auto shade = is_slower(change, 10, 1000) ? ink::red : change.slower_us() < -1000 ? ink::green : ink::none;
    std::vector<GridCell> row = {{change.pipeline + "/" + change.stage},
                                 {change.count_a > 0 ? span_text(change.median_a_us) : "-"},
                                 {change.count_b > 0 ? span_text(change.median_b_us) : "-"},
                                 {change.in_both() ? signed_span(change.slower_us()) : "", shade},
                                 {ratio_text(change), shade}};
    if (windows) {
      row.push_back({change.count_a > 0 ? span_text(change.p95_a_us) : "-"});
      row.push_back({change.count_b > 0 ? span_text(change.p95_b_us) : "-"});
      row.push_back({std::to_string(change.count_a)});
      row.push_back({std::to_string(change.count_b)});
    }
    grid.add(std::move(row));
  }
  return grid;
}

Result<int> show_diff(cli::Session& session) {
  const auto& arguments = session.arguments;
  const auto sides = NANOBOX_TRY(sides_of(arguments));
  const auto threshold = NANOBOX_TRY(threshold_of(arguments));
  const auto least_us =
      static_cast<std::int64_t>(NANOBOX_TRY(cli::number_option(arguments, "least", 0, 3'600'000)).value_or(1)) * 1000;
  const auto server = NANOBOX_TRY(session.server());
  cli::ApiClient client(server.address, &session.interruption);
  const auto now = NANOBOX_TRY(ask_server_now_us(client));
  const auto a = NANOBOX_TRY(runs_of(client, arguments, sides.a, now));
  const auto b = NANOBOX_TRY(runs_of(client, arguments, sides.b, now));
  const auto changes = compare(a, b);
  bool slower = false;
  for (const auto& change : changes) slower |= threshold && is_slower(change, *threshold, least_us);
  if (session.json()) {
    NANOBOX_TRY(cli::print_json(comparison_json(slower, changes)));
  } else if (changes.empty()) {
    cli::tell("no stage ended in either");
  } else {
    const auto paper = paper_of(session);
    NANOBOX_TRY(cli::print_text(table_of(changes, is_window(sides.a)).text(paper.style, paper.columns)));
  }
  return slower ? kSlower : kFine;
}

}  // namespace

cli::CommandSpec diff_command_spec() {
  return {.name = "diff",
          .usage = "A B",
          .summary = "compare two runs or two windows of time: what got slower",
          .lesson =
              "Compares each stage's time in A and B, what got slower first: two runs (ids, or sandboxes and\n"
              "templates, whose latest run is meant), or the medians of the runs created in two windows of time.\n\n"
              "  nanobox-inspect diff op-019ac7 op-019ac8\n"
              "  nanobox-inspect diff 10m..5m 5m..now --kind boot\n"
              "  nanobox-inspect diff --a 1d..23h --b 1h..now --threshold 20%\n\n"
              "Exit codes: 0 fine, 1 a request failed, 2 usage, 3 a stage got slower by more than --threshold.",
          .options =
              with_run_options({{"a", 0, "WINDOW", "instead of the first word"},
                                {"b", 0, "WINDOW", "instead of the second word"},
                                {"threshold", 't', "PERCENT", "exit with 3 where a stage got slower by more than this"},
                                {"least", 0, "MS", "what got slower by less does not count for that (1)"}}),
          .most_words = 2,
          .check = check_diff,
          .run = show_diff};
}

}  // namespace nanobox::inspection
