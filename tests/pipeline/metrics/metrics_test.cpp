#include "pipeline/metrics/metrics.hpp"

#include <catch2/catch.hpp>

#include "pipeline/metrics/family.hpp"

using namespace nanobox;
using namespace std::chrono_literals;

namespace {

class Counted {
protected:
  bool has(const std::string& line) const {
    const auto text = metrics.text();
    return text.find("\n" + line + "\n") != std::string::npos;
  }

  Metrics metrics{"1.2.3"};
};

/// One stage that took a second and a half, a second that never ran.
RunRecord run_that(RunStatus status, const std::string& id = "run-1") {
  const PreciseTime begin{1'000'000us};
  StageDescription vm{}, config{};
  vm.name = "vm";
  config.name = "config";
  auto run = make_run("boot", "sb-1", "ann", "n1", {vm, config});
  run.id = id;
  stage_started(run, 0, begin);
  run.stages[0].total_bytes = 64;
  stage_ended(run, 0, begin + 1'500ms);
  if (status != RunStatus::running) run_ended(run, status, std::nullopt, begin + 2s);
  return run;
}

Sandbox sandbox_that_is(SandboxStatus status) {
  Sandbox sandbox;
  sandbox.id = "sb-1";
  sandbox.status = status;
  sandbox.boot_path = "snapshot";
  sandbox.boot_time_ms = 20;
  return sandbox;
}

}  // namespace

TEST_CASE_METHOD(Counted, "a run is counted once, when it has ended", "[metrics]") {
  metrics.runs().take(run_that(RunStatus::running));
  CHECK(has(R"(nanobox_pipeline_runs_active{pipeline="boot"} 1)"));
  CHECK(has(R"(nanobox_pipeline_runs_total{outcome="succeeded",pipeline="boot"} 0)"));
  metrics.runs().take(run_that(RunStatus::succeeded));
  metrics.runs().take(run_that(RunStatus::succeeded));
  metrics.runs().take(run_that(RunStatus::running));
  CHECK(has(R"(nanobox_pipeline_runs_active{pipeline="boot"} 0)"));
  CHECK(has(R"(nanobox_pipeline_runs_total{outcome="succeeded",pipeline="boot"} 1)"));
}

TEST_CASE_METHOD(Counted, "stages are timed, but for those that never ran", "[metrics]") {
  metrics.runs().take(run_that(RunStatus::failed));
  CHECK(has(R"(nanobox_stage_duration_seconds_count{outcome="succeeded",pipeline="boot",stage="vm"} 1)"));
  CHECK(has(R"(nanobox_stage_duration_seconds_sum{outcome="succeeded",pipeline="boot",stage="vm"} 1.5)"));
  CHECK(has(R"(nanobox_stage_bytes_total{pipeline="boot",stage="vm"} 64)"));
  CHECK(metrics.text().find(R"(stage="config")") == std::string::npos);
}

TEST_CASE_METHOD(Counted, "names that a node makes up do not fill the text", "[metrics]") {
  for (int i = 0; i < 1000; ++i) {
    auto run = run_that(RunStatus::succeeded, "run-" + std::to_string(i));
    run.pipeline = "p" + std::to_string(i);
    metrics.runs().take(run);
  }
  CHECK(has(R"(nanobox_pipeline_runs_total{outcome="succeeded",pipeline="other"} 988)"));
}

TEST_CASE_METHOD(Counted, "a sandbox is counted by how it began, when it runs", "[metrics]") {
  metrics.sandboxes().take(sandbox_that_is(SandboxStatus::creating));
  metrics.sandboxes().take(sandbox_that_is(SandboxStatus::running));
  metrics.sandboxes().take(sandbox_that_is(SandboxStatus::running));
  CHECK(has(R"(nanobox_sandbox_boots_total{boot_path="snapshot"} 1)"));
  CHECK(has(R"(nanobox_sandbox_boots_total{boot_path="cold"} 0)"));
  CHECK(has(R"(nanobox_boot_duration_seconds_sum{boot_path="snapshot"} 0.02)"));
}

TEST_CASE_METHOD(Counted, "one that ran before the daemon did is none that began", "[metrics]") {
  metrics.sandboxes().take(sandbox_that_is(SandboxStatus::lost));
  metrics.sandboxes().take(sandbox_that_is(SandboxStatus::running));
  CHECK(has(R"(nanobox_sandbox_boots_total{boot_path="snapshot"} 0)"));
}

TEST_CASE_METHOD(Counted, "a resumed sandbox is timed as one, not as a boot", "[metrics]") {
  metrics.sandboxes().take(sandbox_that_is(SandboxStatus::resuming));
  auto back = sandbox_that_is(SandboxStatus::running);
  back.boot_time_ms = 30;
  metrics.sandboxes().take(back);
  back.boot_time_ms = 20;
  back.restore_time_ms = 30;
  metrics.sandboxes().take(back);
  CHECK(has("nanobox_restore_duration_seconds_count 1"));
  CHECK(has("nanobox_restore_duration_seconds_sum 0.03"));
  CHECK(has(R"(nanobox_sandbox_boots_total{boot_path="snapshot"} 0)"));
}

TEST_CASE_METHOD(Counted, "ends are counted by their cause", "[metrics]") {
  SandboxDeath death;
  death.cause = DeathCause::kernel_panic;
  metrics.sandboxes().take(death);
  CHECK(has(R"(nanobox_sandboxes_ended_total{cause="kernel_panic"} 1)"));
  CHECK(has(R"(nanobox_sandboxes_ended_total{cause="expired"} 0)"));
}

TEST_CASE_METHOD(Counted, "requests are counted by route, those that no route has as one", "[metrics]") {
  metrics.requests().take({.route = "/api/v1/sandboxes/{id}/exec", .method = "POST", .status = 200, .duration = 250ms});
  metrics.requests().take({.route = "", .method = "GET", .status = 404});
  metrics.requests().take({.route = "", .method = "GET", .status = 404});
  CHECK(has(R"(nanobox_http_requests_total{method="POST",route="/api/v1/sandboxes/{id}/exec",status="200"} 1)"));
  CHECK(has(R"(nanobox_http_requests_total{method="GET",route="none",status="404"} 2)"));
  CHECK(has("nanobox_exec_duration_seconds_count 1"));
  CHECK(has("nanobox_exec_duration_seconds_sum 0.25"));
}

TEST_CASE_METHOD(Counted, "streams are counted, but last as long as their client likes", "[metrics]") {
  metrics.requests().take(
      {.route = "/api/v1/events", .method = "GET", .status = 200, .streamed = true, .duration = 1h});
  CHECK(has(R"(nanobox_http_requests_total{method="GET",route="/api/v1/events",status="200"} 1)"));
  CHECK(metrics.text().find(R"(nanobox_http_request_duration_seconds_count{)") == std::string::npos);
}

TEST_CASE_METHOD(Counted, "the process and its version are told", "[metrics]") {
  CHECK(has(R"(nanobox_build_info{version="1.2.3"} 1)"));
  for (const auto* name :
       {"process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds", "process_start_time_seconds"})
    CHECK(metrics.text().find("\n" + std::string(name) + " ") != std::string::npos);
}

TEST_CASE_METHOD(Counted, "what others collect is told, but for families without a value", "[metrics]") {
  metrics.add([] {
    auto kept = gauge_family("nanobox_events_kept", "Events.");
    add_value(kept, {}, 3);
    return std::vector{kept, gauge_family("nanobox_nothing", "Nothing.")};
  });
  CHECK(has("nanobox_events_kept 3"));
  CHECK(metrics.text().find("nanobox_nothing") == std::string::npos);
}
