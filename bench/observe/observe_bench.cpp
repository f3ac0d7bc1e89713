// What it costs to keep what is seen: the memory of 10 000 kept runs, and the time to write /metrics with 500
// sandboxes. The boards are filled here, in this process, with records as a daemon has them; no HTTP is between.

#include <malloc.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <iostream>
#include <vector>

#include "actors/metrics_feed.hpp"
#include "actors/run_recorder.hpp"
#include "actors/stage_routes.hpp"
#include "config/id.hpp"

namespace {

using namespace nanobox;
using Clock = std::chrono::steady_clock;

constexpr std::size_t kRuns = 10'000;
constexpr std::size_t kSandboxes = 500;
constexpr std::size_t kTemplates = 50;

/// Of this thread: what other work on the machine does not change.
double processor_ms() {
  timespec time{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) * 1e3 + static_cast<double>(time.tv_nsec) / 1e6;
}

std::size_t bytes_in_use() {
  const auto info = ::mallinfo2();
  return info.uordblks + info.hblkhd;
}

RunRecord ended_boot() {
  const auto stages = BootPipeline::describe();
  auto run = make_run("boot", make_id("sb"), "admin", "node-of-the-cluster-1", {stages.begin(), stages.end()});
  auto now = precise_now();
  for (std::size_t i = 0; i < run.stages.size(); ++i) {
    stage_started(run, i, now);
    run.stages[i].actor = to_string(stages[i].concern);
    run.stages[i].node_id = run.node_id;
    stage_ended(run, i, now += std::chrono::microseconds(1'700));
  }
  run.stages.back().detail = "layer 812 us, state 5012 us, cont 233 us";
  run_ended(run, RunStatus::succeeded, std::nullopt, now);
  return run;
}

void measure_runs() {
  Boards boards;
  const auto before = bytes_in_use();
  const auto begin = Clock::now();
  for (std::size_t i = 0; i < kRuns; ++i) record_run(boards, ended_boot(), kRuns);
  const auto kept = bytes_in_use() - before;
  std::cout << kRuns << " ended boots of " << BootPipeline::size << " stages: " << kept / kRuns << " bytes each, "
            << static_cast<double>(kept) / (1 << 20) << " MiB\n";
  // Each one more drops the oldest.
  const auto full = Clock::now();
  for (std::size_t i = 0; i < kRuns; ++i) record_run(boards, ended_boot(), kRuns);
  const auto each = [](auto span) {
    return std::chrono::duration<double, std::micro>(span).count() / static_cast<double>(kRuns);
  };
  std::cout << "made and recorded in " << each(full - begin) << " us each, " << each(Clock::now() - full)
            << " us with one dropped\n";
}

NodeStatus busy_node() {
  NodeStatus node;
  node.node_id = "n1";
  node.state = NodeState::ready;
  for (std::size_t i = 0; i < kTemplates; ++i) {
    const auto name = "template-" + std::to_string(i);
    node.pools.push_back({.owner = "admin", .template_name = name, .min_ready = 1, .max_ready = 2, .problem = {}});
    node.beat.usage.push_back({.owner = "admin", .template_name = name, .vms = 10, .pss_bytes = 1 << 30});
  }
  for (std::size_t i = 0; i < 20; ++i) node.beat.concerns.emplace_back().concern = "concern-" + std::to_string(i);
  return node;
}

void measure_text() {
  Boards boards;
  MetricsFeed feed(boards, "1");
  for (std::size_t i = 0; i < kSandboxes; ++i) {
    Sandbox sandbox;
    sandbox.id = make_id("sb");
    sandbox.node_id = "n1";
    sandbox.template_name = "template-" + std::to_string(i % kTemplates);
    sandbox.boot_time_ms = 12;
    sandbox.created_at = wall_now();
    sandbox.status = SandboxStatus::running;
    boards.sandboxes.publish(sandbox.id, sandbox);
    record_run(boards, ended_boot(), kRuns);
  }
  boards.nodes.publish("n1", busy_node());
  // As a server has them that all routes were asked of.
  for (int number = 0; number < 60; ++number) {
    const auto route = "/api/v1/things-of-some-length/" + std::to_string(number);
    for (const int status : {200, 400, 404, 409, 503})
      feed.metrics().requests().take(
          {.route = route, .method = "POST", .status = status, .duration = std::chrono::milliseconds(3)});
  }
  std::vector<double> times, processor_times;
  std::string text;
  for (int i = 0; i < 200; ++i) {
    const auto begin = Clock::now();
    const auto processor_begin = processor_ms();
    text = feed.metrics().text();
    processor_times.push_back(processor_ms() - processor_begin);
    times.push_back(std::chrono::duration<double, std::milli>(Clock::now() - begin).count());
  }
  std::ranges::sort(times);
  std::ranges::sort(processor_times);
  std::cout << "/metrics with " << kSandboxes << " sandboxes, " << kTemplates << " templates: " << text.size()
            << " bytes, " << std::ranges::count(text, '\n') << " lines, median " << times[times.size() / 2]
            << " ms, best " << times.front() << " ms; of the processor median "
            << processor_times[processor_times.size() / 2] << " ms\n";
}

void measure_taking() {
  prometheus::Registry registry;
  RequestMetrics requests(registry);
  constexpr int kTimes = 100'000;
  const auto begin = Clock::now();
  for (int i = 0; i < kTimes; ++i)
    requests.take({.route = "/api/v1/sandboxes/{id}/exec",
                   .method = "POST",
                   .status = 200,
                   .duration = std::chrono::microseconds(i)});
  std::cout << "a request counted in "
            << std::chrono::duration<double, std::micro>(Clock::now() - begin).count() / kTimes << " us\n";
}

}  // namespace

int main() {
  measure_runs();
  measure_text();
  measure_taking();
}
