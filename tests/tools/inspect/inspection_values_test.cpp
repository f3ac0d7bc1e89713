#include <catch2/catch.hpp>

#include "tests/tools/inspect/inspection_runs.hpp"
#include "tools/nanobox-inspect/comparison.hpp"
#include "tools/nanobox-inspect/grid.hpp"
#include "tools/nanobox-inspect/lanes.hpp"
#include "tools/nanobox-inspect/stage_stats.hpp"
#include "tools/nanobox-inspect/style.hpp"
#include "tools/nanobox-inspect/time_window.hpp"
#include "tools/nanobox-inspect/trace.hpp"
#include "tools/nanobox/json.hpp"

using namespace nanobox;
using namespace nanobox::inspection;

namespace {

constexpr std::int64_t kNow = 1'795'000'000'000'000;  // 2026-11-18T11:06:40Z
constexpr std::int64_t kMinute = 60'000'000;

rapidjson::Document parsed(const std::string& text) {
  rapidjson::Document json;
  json.Parse(text.c_str());
  return json;
}

}  // namespace

TEST_CASE("a percentile is the value that so many are not above", "[inspection]") {
  CHECK(percentile({}, 0.5) == 0);
  CHECK(percentile({7}, 0.5) == 7);
  CHECK(percentile({7}, 0.99) == 7);
  CHECK(percentile({1, 2, 3, 4}, 0.5) == 2);
  CHECK(percentile({1, 2, 3, 4, 5}, 0.5) == 3);
  std::vector<std::int64_t> hundred;
  for (std::int64_t at = 1; at <= 100; ++at) hundred.push_back(at);
  CHECK(percentile(hundred, 0.95) == 95);
  CHECK(percentile(hundred, 0.99) == 99);
  CHECK(percentile(hundred, 1.0) == 100);
  CHECK(percentile(hundred, 0.0) == 1);
}

TEST_CASE("stages are summed over runs: times, share, failures, retries", "[inspection]") {
  auto failed = a_run("op-3", 0, {{"vm", 0, 100}});
  failed.stages[0].status = "failed";
  failed.stages[0].attempts = 3;
  const auto stats = stage_stats({a_run("op-1", 0, {{"place", 0, 100}, {"vm", 100, 300}}),
                                  a_run("op-2", 0, {{"place", 0, 100}, {"vm", 100, 200}}), failed});
  REQUIRE(stats.size() == 2);
  CHECK(stats[0].stage == "vm");
  CHECK(stats[0].count == 3);
  CHECK(stats[0].p50_us == 200);
  CHECK(stats[0].max_us == 300);
  CHECK(stats[0].total_us == 600);
  CHECK(stats[0].share == Approx(0.75));
  CHECK(stats[0].failures == 1);
  CHECK(stats[0].retries == 2);
}

TEST_CASE("stages that run are counted apart, those that never ran not at all", "[inspection]") {
  auto run = a_run("op-1", 0, {{"pull", 0, 100}, {"build", 100, 5}});
  run.stages[0].status = "running";
  run.stages[1].started_us.reset();
  const auto stats = stage_stats({run});
  REQUIRE(stats.size() == 1);
  CHECK(stats[0].running == 1);
  CHECK(stats[0].count == 0);
  CHECK(stats[0].p99_us == 0);
  CHECK(stats[0].share == 0);
}

TEST_CASE("what got slower comes first, what is on one side only last", "[inspection]") {
  const auto changes =
      compare({a_run("op-1", 0, {{"place", 0, 100}, {"vm", 0, 2000}, {"disk", 0, 500}, {"gone", 0, 9}})},
              {a_run("op-2", 0, {{"place", 0, 90}, {"vm", 0, 2500}, {"disk", 0, 500}, {"new", 0, 9}})});
  REQUIRE(changes.size() == 5);
  CHECK(changes[0].stage == "vm");
  CHECK(changes[0].slower_us() == 500);
  CHECK(changes[0].ratio() == Approx(1.25));
  CHECK(changes[1].stage == "disk");
  CHECK(changes[2].slower_us() == -10);
  CHECK_FALSE(changes[3].in_both());
  CHECK_FALSE(changes[4].ratio());
}

TEST_CASE("slower is what passes both the share and the least difference", "[inspection]") {
  StageChange change;
  change.count_a = change.count_b = 1;
  change.median_a_us = 10'000;
  change.median_b_us = 12'000;
  CHECK(is_slower(change, 19, 1000));
  CHECK_FALSE(is_slower(change, 20, 1000));
  CHECK_FALSE(is_slower(change, 10, 2001));
  change.median_a_us = 0;
  CHECK(is_slower(change, 50, 1000));
  CHECK_FALSE(change.ratio());
  change.median_b_us = 0;
  CHECK_FALSE(is_slower(change, 0, 0));
}

TEST_CASE("runs that overlap get lanes of their own, a lane is used again when it is free", "[inspection]") {
  CHECK(assign_lanes({{0, 10}, {10, 20}, {20, 30}}) == std::vector<std::size_t>{0, 0, 0});
  CHECK(assign_lanes({{0, 10}, {5, 8}, {6, 20}, {8, 9}}) == std::vector<std::size_t>{0, 1, 2, 1});
  LaneBook book;
  CHECK(book.take({0, 10}, 1) == 0);
  CHECK(book.take({0, 20}, 2) == 1);
  CHECK(book.take({10, 30}, 2) == 3);  // lane 0 alone is too narrow
  CHECK(book.take({20, 30}, 3) == 0);
  CHECK(book.lanes() == 5);
}

TEST_CASE("a moment is now, how long ago, or a time", "[inspection]") {
  CHECK(parse_moment("now", kNow) == kNow);
  CHECK(parse_moment("10m", kNow) == kNow - 10 * kMinute);
  CHECK(parse_moment("90", kNow) == kNow - 90'000'000);
  CHECK(parse_moment("2h", kNow) == kNow - 120 * kMinute);
  CHECK(parse_moment("1d", kNow) == kNow - 1440 * kMinute);
  CHECK(parse_moment(time_text(kNow), 0) == kNow);
  CHECK(parse_moment("2026-11-18T11:06:40Z", 0) == kNow);
  for (const char* text : {"", "m", "soon", "-5m", "10x", "1.5h", "Z"}) CHECK_FALSE(parse_moment(text, kNow));
}

TEST_CASE("a window has its older end first", "[inspection]") {
  const auto window = parse_window("10m..5m", kNow).value();
  CHECK(window.from_us == kNow - 10 * kMinute);
  CHECK(window.until_us == kNow - 5 * kMinute);
  CHECK(window.holds(kNow - 10 * kMinute));
  CHECK_FALSE(window.holds(kNow - 5 * kMinute));
  CHECK(parse_window("5m", kNow).value().until_us == kNow);
  for (const char* text : {"5m..10m", "now..now", "..", "a..b", "5m.."}) CHECK_FALSE(parse_window(text, kNow));
}

TEST_CASE("times and sizes are written with three or four digits", "[inspection]") {
  CHECK(span_text(0) == "0 us");
  CHECK(span_text(999) == "999 us");
  CHECK(span_text(1234) == "1.23 ms");
  CHECK(span_text(123'456) == "123 ms");
  CHECK(span_text(999'500) == "1.00 s");
  CHECK(span_text(45'600'000) == "45.6 s");
  CHECK(span_text(125'000'000) == "2m 05s");
  CHECK(size_text(0).empty());
  CHECK(size_text(1023) == "1023 B");
  CHECK(size_text(41'943'040) == "40.0 MiB");
  CHECK(rate_text(41'943'040, 4'000'000) == "10.0 MiB/s");
  CHECK(rate_text(1, 0).empty());
  CHECK(ago_text(kNow, kNow - 5) == "0s");
  CHECK(ago_text(kNow - 3 * kMinute, kNow) == "3m");
}

TEST_CASE("text is cut and filled by characters, never in the middle of one", "[inspection]") {
  const Style plain, drawn{.colour = false, .unicode = true};
  CHECK(fitted(plain, "abc", 5) == "abc  ");
  CHECK(fitted(plain, "abcdef", 4) == "abc~");
  CHECK(fitted(drawn, "äöüß", 3) == "äö…");
  CHECK(fitted(plain, "a\x1b[31mb", 20).find('\x1b') == std::string::npos);
  CHECK(fitted_in_middle(drawn, "äöüßabcd", 5) == "äö…cd");
  CHECK(fitted_in_middle(plain, "abc", 4) == "abc ");
  CHECK(fitted_right(plain, "7", 3) == "  7");
  CHECK(fitted(plain, "abc", 0).empty());
  CHECK(visible_columns("\x1b[31mäb\x1b[0m") == 2);
  CHECK(filled("\x1b[31ma\x1b[0m", 3) == "\x1b[31ma\x1b[0m  ");
}

TEST_CASE("colours are for terminals only, drawn lines for UTF-8", "[inspection]") {
  CHECK(style_for({{"LANG", "C.UTF-8"}}, true).colour);
  CHECK(style_for({{"LANG", "C.UTF-8"}}, true).unicode);
  CHECK_FALSE(style_for({}, false).colour);
  CHECK_FALSE(style_for({{"NO_COLOR", "1"}}, true).colour);
  CHECK_FALSE(style_for({{"TERM", "dumb"}}, true).colour);
  CHECK_FALSE(style_for({{"LC_ALL", "C"}, {"LANG", "de_DE.utf8"}}, true).unicode);
  CHECK(style_for({{"LC_ALL", ""}, {"LANG", "de_DE.utf8"}}, true).unicode);
}

TEST_CASE("a table shrinks what may shrink, then leaves the last columns out", "[inspection]") {
  Grid grid({{.head = "NAME", .shrinks_to = 5}, {.head = "N", .right = true}, {.head = "WHY", .shrinks_to = 4}});
  grid.add({{"a-rather-long-name"}, {"12"}, {"because it is so"}});
  CHECK(grid.lines({}, 0)[1] == "a-rather-long-name  12  because it is so");
  for (const std::size_t width : {40U, 25U, 15U, 12U, 8U, 3U})
    for (const auto& line : grid.lines({}, width)) CHECK(visible_columns(line) <= width);
  CHECK(grid.lines({}, 15)[1] == "a-ra~  12  bec~");
  CHECK(grid.lines({}, 10)[1] == "a-ra~  12");
}

TEST_CASE("a number is shown whole or not at all", "[inspection]") {
  Grid grid({{.head = "NAME"}, {.head = "MOVED", .right = true}});
  grid.add({{"pull"}, {"16.9 KiB/s"}});
  CHECK(grid.lines({}, 16)[1] == "pull  16.9 KiB/s");
  CHECK(grid.lines({}, 12)[1] == "pull");
}

TEST_CASE("an older server's runs have their times in milliseconds", "[inspection]") {
  const auto run = read_run(parsed(R"({"id":"op-1","pipeline":"boot","status":"succeeded",
      "started_at":"2026-11-18T11:06:40.000Z","duration_ms":12,"stages":[{"name":"vm","status":"succeeded",
      "started_at":"2026-11-18T11:06:40.003Z","duration_ms":9,"attempts":1}]})"));
  CHECK(run.created_us == kNow);
  CHECK(run.duration_us == 12'000);
  CHECK(run.stages.at(0).started_us == kNow + 3000);
  CHECK(run.stages.at(0).duration_us == 9000);
}

TEST_CASE("what is no run reads as an empty one", "[inspection]") {
  for (const char* text : {"null", "[]", "{}", R"({"stages":7,"error":"x","duration_us":-3,"id":9})",
                           R"({"stages":[null,{"bytes":-1,"started_us":"x"}]})"}) {
    const auto run = read_run(parsed(text));
    CHECK(run.id.empty());
    CHECK(run.duration_us == 0);
    for (const auto& stage : run.stages) CHECK_FALSE(stage.ran());
  }
}

TEST_CASE("a trace has a process for each node and no two slices on each other", "[inspection][trace]") {
  auto overlapping = a_run("op-2", 50, {{"pull", 0, 100}, {"extract", 20, 200}});
  auto elsewhere = a_run("op-3", 60, {{"vm", 0, 10}});
  elsewhere.stages[0].node_id = "n2";
  const auto trace = parsed(chrome_trace({a_run("op-1", 0, {{"vm", 0, 100}}), overlapping, elsewhere}));

  std::map<std::int64_t, std::string> processes;
  std::map<std::pair<std::int64_t, std::int64_t>, std::vector<std::pair<std::int64_t, std::int64_t>>> stages, runs;
  for (const auto& event : trace["traceEvents"].GetArray()) {
    const auto process = cli::json_number(event, "pid"), thread = cli::json_number(event, "tid");
    if (cli::json_text(event, "name") == "process_name") processes[process] = cli::json_text(event["args"], "name");
    if (cli::json_text(event, "ph") != "X") continue;
    auto& slices = (cli::json_text(event, "cat") == "run" ? runs : stages)[{process, thread}];
    slices.emplace_back(cli::json_number(event, "ts"), cli::json_number(event, "dur"));
  }
  CHECK(processes == std::map<std::int64_t, std::string>{{1, "n1"}, {2, "n2"}});
  CHECK(runs.size() == 3);
  for (auto* lists : {&runs, &stages})
    for (auto& [thread, slices] : *lists) {
      std::ranges::sort(slices);
      for (std::size_t at = 1; at < slices.size(); ++at)
        CHECK(slices[at].first >= slices[at - 1].first + slices[at - 1].second);
    }
}
