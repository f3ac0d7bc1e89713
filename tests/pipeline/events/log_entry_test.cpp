#include "pipeline/events/log_entry.hpp"

#include <catch2/catch.hpp>

using namespace nanobox;

namespace {

NewEvent event(std::string type, std::string data = "{}") {
  return {.type = std::move(type), .subject = "it", .node_id = "n1", .owner = "ann", .data = std::move(data)};
}

RunRecord failed_boot() {
  RunRecord run;
  run.id = "op-1";
  run.pipeline = "boot";
  run.subject = "sb-1";
  run.owner = "ann";
  run.node_id = "n1";
  run.status = RunStatus::failed;
  return run;
}

const Error kNoDisk{
    .code = ErrorCode::disk_full, .attempted = "write", .subject = "/x", .reason = "no space left", .mend = ""};
const Error kNoBoot{
    .code = ErrorCode::vmm_failed, .attempted = "boot", .subject = "sb-1", .reason = "it has no disk", .mend = ""};

}  // namespace

TEST_CASE("a sandbox that runs is told with its boot's path and time", "[log]") {
  const auto entry =
      log_entry(event("sandbox.running", R"({"reason":null,"template":"web","boot_path":"pool","boot_time_ms":12})"));
  CHECK(entry == LogEntry{.component = LogComponent::sandbox,
                          .level = LogLevel::info,
                          .message = "running",
                          .sandbox = "it",
                          .template_name = "web",
                          .node = "n1",
                          .owner = "ann",
                          .boot_path = "pool",
                          .boot_time_ms = "12"});
}

TEST_CASE("a sandbox' end is told with its cause", "[log]") {
  const auto entry =
      log_entry(event("sandbox.ended", R"({"reason":"nobody kept it","boot_path":"cold","cause":"expired"})"));
  CHECK(entry.message == "ended: nobody kept it");
  CHECK(entry.cause == "expired");
  CHECK(entry.boot_path.empty());
}

TEST_CASE("a template's event names the run it is of", "[log]") {
  const auto entry = log_entry(event("template.ready", R"({"reason":null,"image":"i","operation_id":"op-1"})"));
  CHECK(entry.component == LogComponent::warmup);
  CHECK(entry.message == "template ready");
  CHECK(entry.template_name == "it");
  CHECK(entry.run == "op-1");
}

TEST_CASE("what failed, got lost or died is a warning, what is on the way is for debugging", "[log]") {
  for (const auto* type :
       {"sandbox.failed", "sandbox.lost", "template.failed", "node.unready", "node.lost", "supervision.restarted"})
    CHECK(log_entry(event(type)).level == LogLevel::warn);
  for (const auto* type : {"sandbox.running", "sandbox.paused", "sandbox.resuming", "sandbox.ended", "template.ready",
                           "node.joined", "node.ready"})
    CHECK(log_entry(event(type)).level == LogLevel::info);
  for (const auto* type : {"sandbox.creating", "sandbox.pausing", "template.queued"})
    CHECK(log_entry(event(type)).level == LogLevel::debug);
}

TEST_CASE("a failed run is told with its stage and the errors that led to it", "[log]") {
  auto run = failed_boot();
  run.error = kNoBoot;
  run.stages = {{.name = "disk", .status = StageStatus::succeeded},
                {.name = "vm", .status = StageStatus::failed, .attempts = 3, .error = kNoDisk}};
  CHECK(failed_run_entry(run) ==
        LogEntry{.component = LogComponent::sandbox,
                 .level = LogLevel::warn,
                 .message = "boot failed in stage vm after 3 attempts: " + describe(kNoBoot) + ": " + describe(kNoDisk),
                 .sandbox = "sb-1",
                 .node = "n1",
                 .run = "op-1",
                 .owner = "ann",
                 .code = "vmm_failed"});
}

TEST_CASE("an error that the stage and the run have in common is told once", "[log]") {
  auto run = failed_boot();
  run.pipeline = "warmup";
  run.subject = "web";
  run.error = kNoDisk;
  run.stages = {{.name = "rootfs", .status = StageStatus::failed, .attempts = 1, .error = kNoDisk}};
  const auto entry = failed_run_entry(run);
  CHECK(entry.message == "warmup failed in stage rootfs: " + describe(kNoDisk));
  CHECK(entry.template_name == "web");
  CHECK(entry.sandbox.empty());
}
