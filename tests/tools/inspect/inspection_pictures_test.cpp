#include <catch2/catch.hpp>

#include "tests/tools/inspect/inspection_runs.hpp"
#include "tools/nanobox-inspect/actor_view.hpp"
#include "tools/nanobox-inspect/pipeline_picture.hpp"
#include "tools/nanobox-inspect/run_list.hpp"
#include "tools/nanobox-inspect/waterfall.hpp"

using namespace nanobox::inspection;

namespace {

constexpr Style kDrawn{.colour = false, .unicode = true};

bool has(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

std::string joined(const std::vector<std::string>& lines) {
  std::string text;
  for (const auto& line : lines) text += line + "\n";
  return text;
}

PipelineDefinition boot() {
  PipelineDefinition pipeline{.name = "boot", .stages = {}};
  for (const char* name : {"place", "address", "disk", "vm", "handshake"})
    pipeline.stages.push_back({.name = name,
                               .actor = "vm_supervisor",
                               .input = "In",
                               .output = "Out",
                               .deadline_ms = 1500,
                               .retries = 2,
                               .undo = "end the \"VM\""});
  return pipeline;
}

}  // namespace

TEST_CASE("a bar begins where its stage did and is never nothing", "[inspection][waterfall]") {
  CHECK(bar({}, 0, 100, 100, 10) == "##########");
  CHECK(bar({}, 50, 50, 100, 10) == "     #####");
  CHECK(bar({}, 50, 0, 100, 10) == "     #");
  CHECK(bar({}, 100, 0, 100, 10) == "         #");
  CHECK(bar({}, 90, 900, 100, 10) == "         #");
  CHECK(bar({}, -5, 10, 100, 10) == "#");
  CHECK(bar({}, 0, 1, 0, 10).empty());
  CHECK(bar({}, 0, 1, 1, 0).empty());
}

TEST_CASE("drawn bars end at an eighth of a column", "[inspection][waterfall]") {
  CHECK(bar(kDrawn, 0, 100, 100, 3) == "███");
  CHECK(bar(kDrawn, 0, 50, 100, 3) == "█▌");
  CHECK(bar(kDrawn, 50, 0, 100, 4) == "  ▏");
}

TEST_CASE("every line of a waterfall fits, however narrow, and names what is long", "[inspection][waterfall]") {
  auto run = a_run("op-1", 1'000'000, {{"a-stage-with-a-rather-long-name", 0, 100}, {"vm", 100, 900'000}});
  run.subject = std::string(300, 'x');
  run.stages[1].status = "failed";
  run.stages[1].bytes = 5'000'000;
  run.stages[1].node_id = "another-node-with-a-name";
  run.stages[1].detail = std::string(200, 'd') + " and more words";
  run.stages[1].error = Failure{.code = "vmm_failed",
                                .detail = "",
                                .attempted = "start VM",
                                .subject = "sb",
                                .reason = "it \x1b[2J ended",
                                .mend = ""};
  for (const std::size_t columns : {40U, 80U, 120U, 300U})
    for (const Style style : {Style{}, kDrawn, Style{.colour = true, .unicode = true}})
      for (const auto& line : waterfall(style, run, columns, 2'000'000)) {
        CAPTURE(columns, line);
        CHECK(visible_columns(line) <= columns);
      }
  CHECK_FALSE(has(joined(waterfall(kDrawn, run, 80, 0)), "\x1b"));
}

TEST_CASE("a run's waiting, its end and its error are told once", "[inspection][waterfall]") {
  auto run = a_run("op-1", 1'000'000, {{"vm", 0, 5000}});
  run.created_us -= 20'000;
  run.status = "failed";
  run.stages[0].status = "failed";
  run.error = run.stages[0].error = Failure{
      .code = "vmm_failed", .detail = "start VM: it ended", .attempted = "", .subject = "", .reason = "", .mend = ""};
  const auto text = joined(waterfall({}, run, 80, 2'000'000));
  CHECK(has(text, "waited 20.0 ms, took 5.00 ms\n"));
  CHECK(has(text, "vm failed: vmm_failed\n  because    start VM: it ended\n"));
  CHECK(text.find("vmm_failed") == text.rfind("vmm_failed"));
}

TEST_CASE("a run that waits or was cancelled before its start has no bars", "[inspection][waterfall]") {
  auto run = a_run("op-1", 1'000'000, {{"vm", 0, 0}});
  run.started_us.reset();
  run.stages[0].started_us.reset();
  run.status = "queued";
  CHECK(has(joined(waterfall({}, run, 80, 2'000'000)), "waits for its start"));
  run.status = "cancelled";
  run.stages.clear();
  CHECK(has(joined(waterfall({}, run, 80, 2'000'000)), "never started"));
}

TEST_CASE("a list of runs says where each is", "[inspection]") {
  auto pulling = a_run("op-1", 0, {{"pull", 0, 10}});
  pulling.status = pulling.stages[0].status = "running";
  pulling.stages[0].bytes = 30;
  pulling.stages[0].total_bytes = 40;
  pulling.stages[0].attempts = 2;
  CHECK(where_text(pulling) == "pull 75 %, try 2");
  CHECK(where_text(a_run("op-2", 0, {{"vm", 0, 1}})).empty());
  CHECK_FALSE(has(run_list({pulling}, 5'000'000).text({}, 0), "NODE"));
}

TEST_CASE("a pipeline's boxes go on in the next row where they do not fit", "[inspection][pipelines]") {
  for (const std::size_t columns : {30U, 80U, 200U}) {
    const auto text = terminal_picture(kDrawn, {boot()}, columns);
    std::size_t at = 0;
    for (auto end = text.find('\n'); end != std::string::npos; at = end + 1, end = text.find('\n', at))
      CHECK(visible_columns(text.substr(at, end - at)) <= columns);
    for (const char* part : {"place", "handshake", "within 1500 ms", "2 retries", "can be undone", "─▶"})
      CHECK(has(text, part));
  }
  CHECK(has(terminal_picture({}, {boot()}, 80), "boot: 5 stages, from In to Out\n  +---"));
}

TEST_CASE("graphs quote what names hold", "[inspection][pipelines]") {
  CHECK(has(graphviz_picture({boot()}), R"(undo: end the \"VM\")"));
  CHECK(has(mermaid_picture({boot()}), "undo: end the #quot;VM#quot;"));
  CHECK(terminal_picture({}, {}, 80).empty());
  CHECK(graphviz_picture({}).ends_with("}\n"));
}

TEST_CASE("actors whose parents are unknown or each other are shown all the same", "[inspection][actors]") {
  ActorView lost, one, other;
  lost.id = lost.concern = "lost";
  lost.parent = "gone";
  one.id = one.concern = other.parent = "one";
  other.id = other.concern = one.parent = "other";
  const auto text = joined(actor_tree({}, {lost, one, other}, 0));
  for (const char* part : {"gone\n", "`- lost", "`- one", "`- other"}) CHECK(has(text, part));
}
