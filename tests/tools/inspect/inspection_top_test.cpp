#include <catch2/catch.hpp>

#include "tests/tools/inspect/inspection_runs.hpp"
#include "tools/nanobox-inspect/top_frame.hpp"

using namespace nanobox;
using namespace nanobox::inspection;

namespace {

constexpr std::int64_t kNow = 1'795'000'000'000'000;

TopData busy(std::size_t runs) {
  TopData data;
  data.server = "http://127.0.0.1:8080";
  data.now_us = kNow;
  for (std::size_t at = 0; at < runs; ++at)
    data.runs.push_back(a_run("op-" + std::to_string(runs - at), kNow - static_cast<std::int64_t>(at) * 1000,
                              {{"place", 0, 100}, {"vm", 100, 5000 + static_cast<std::int64_t>(at)}}));
  data.sandboxes = {{"running", 12}, {"failed", 0}};
  for (int at = 0; at < 20; ++at) {
    ActorView actor;
    actor.id = "n1/a_concern_of_number_" + std::to_string(at);
    actor.mailbox = at;
    data.actors.push_back(actor);
  }
  data.nodes = {{.id = "n1", .status = "ready", .reason = ""}};
  data.pools = {{.name = "python3", .ready = 1, .least = 2, .most = 4, .problem = ""}};
  return data;
}

std::string screen(const TopData& data, const TopState& state, unsigned columns, unsigned rows) {
  std::string text;
  for (const auto& line : draw_top({.colour = false, .unicode = true}, data, state, {.columns = columns, .rows = rows}))
    text += line + "\n";
  return text;
}

bool has(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("a frame has as many lines as the screen, none wider", "[inspection][top]") {
  auto data = busy(1000);
  data.runs[0].subject = std::string(200, 'x');
  data.actors[19].last_error = std::string(200, 'e');
  data.problem = std::string(300, 'p');
  TopState overview, opened, help;
  opened.opened = "op-1000";
  help.help = true;
  for (const auto& state : {overview, opened, help})
    for (const auto& [columns, rows] : {std::pair{20U, 5U}, {40U, 10U}, {80U, 24U}, {110U, 30U}, {250U, 90U}})
      for (const auto& one : {data, TopData{}}) {
        const auto lines = draw_top({.colour = true, .unicode = true}, one, state, {columns, rows});
        CAPTURE(columns, rows);
        CHECK(lines.size() == rows);
        for (const auto& line : lines) CHECK(visible_columns(line) <= columns);
      }
}

TEST_CASE("at 80 by 24 every part is to be seen", "[inspection][top]") {
  const auto text = screen(busy(1000), {}, 80, 24);
  for (const char* part : {"12 running", "1000 ended", "slowest: boot/vm", "boot/place", "n1/a_concern_of_number_19",
                           "n1 ", "python3", "op-1000", "enter open"}) {
    CAPTURE(part, text);
    CHECK(has(text, part));
  }
  CHECK_FALSE(has(text, "failed,"));
}

TEST_CASE("where nothing runs, that is said", "[inspection][top]") {
  TopData idle;
  idle.no_actors = "shown to the admin's key only";
  const auto text = screen(idle, {}, 80, 24);
  for (const char* part : {"sandboxes: none", "no stage ended in the last 1m", "no runs in the last 1m", "admin's key"})
    CHECK(has(text, part));
}

TEST_CASE("the chosen run stays chosen while others come", "[inspection][top]") {
  auto data = busy(5);
  TopState state;
  press(state, data, Key::down, {});
  press(state, data, Key::down, {});
  CHECK(state.selected == "op-3");
  data.runs.insert(data.runs.begin(), a_run("op-9", kNow, {}));
  press(state, data, Key::up, {});
  CHECK(state.selected == "op-4");
  press(state, data, Key::end, {});
  CHECK(state.selected == "op-1");
  press(state, data, Key::down, {});
  CHECK(state.selected == "op-1");
  CHECK(has(screen(data, state, 80, 24), ">  op-1"));
}

TEST_CASE("a run is opened, scrolled in and left", "[inspection][top]") {
  auto data = busy(3);
  for (int at = 0; at < 40; ++at) data.runs[0].stages.push_back(data.runs[0].stages[0]);
  TopState state;
  CHECK(press(state, data, Key::enter, {}));
  CHECK(state.opened == "op-3");
  CHECK(has(screen(data, state, 80, 24), "boot of sb-op-3"));
  press(state, data, Key::end, {80, 24});
  CHECK(state.scrolled > 10);
  CHECK_FALSE(has(screen(data, state, 80, 24), "boot of sb-op-3"));
  press(state, data, Key::home, {80, 24});
  CHECK(state.scrolled == 0);
  press(state, data, Key::back, {});
  CHECK(state.opened.empty());
  CHECK_FALSE(press(state, data, Key::quit, {}));
}

TEST_CASE("an opened run that the server forgot is said to be gone", "[inspection][top]") {
  TopState state;
  state.opened = "op-77";
  CHECK(has(screen(busy(1), state, 80, 24), "op-77 is not known any more"));
}

TEST_CASE("keys go round through orders and windows", "[inspection][top]") {
  const auto data = busy(3);
  TopState state;
  for (int at = 0; at < 5; ++at) press(state, data, Key::order_stages, {});
  CHECK(state.stages == StageOrder::time);
  press(state, data, Key::order_runs, {});
  CHECK(state.runs == RunOrder::slowest);
  press(state, data, Key::window, {});
  CHECK(state.window_sec == 300);
  for (int at = 0; at < 4; ++at) press(state, data, Key::window, {});
  CHECK(state.window_sec == 60);
  press(state, data, Key::help, {});
  press(state, data, Key::down, {});
  CHECK_FALSE(state.help);
  CHECK(state.selected.empty());
}

TEST_CASE("stages and runs are ordered as asked", "[inspection][top]") {
  auto data = busy(3);
  data.runs[2].status = "failed";
  CHECK(ordered_stages(data, StageOrder::p95)[0].stage == "vm");
  CHECK(ordered_stages(data, StageOrder::name)[0].stage == "place");
  CHECK(ordered_runs(data, RunOrder::newest)[0].id == "op-3");
  CHECK(ordered_runs(data, RunOrder::slowest)[0].id == "op-1");
  CHECK(ordered_runs(data, RunOrder::failed)[0].id == "op-1");
}

TEST_CASE("keys are read out of a terminal's bytes, unknown sequences left out", "[inspection][top]") {
  CHECK(keys_of("\x1b[A\x1bOBjk\r") == std::vector{Key::up, Key::down, Key::down, Key::up, Key::enter});
  CHECK(keys_of("\x1b") == std::vector{Key::back});
  CHECK(keys_of("\x1b[1;5Q\x1b[6~xq") == std::vector{Key::page_down, Key::quit});
  CHECK(keys_of("\x03") == std::vector{Key::quit});
  CHECK(keys_of("\x1b[").empty());
  CHECK(keys_of("").empty());
}
