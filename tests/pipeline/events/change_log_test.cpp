#include <catch2/catch.hpp>

#include "pipeline/events/change_log.hpp"

using namespace nanobox;
using namespace std::chrono_literals;

namespace {

const WallTime kBegun{1'000'000ms};

std::vector<std::string> types(const ChangeLog::Events& events) {
  std::vector<std::string> found;
  for (const auto& event : events) found.push_back(event.type);
  return found;
}
using Types = std::vector<std::string>;

Sandbox sandbox(SandboxStatus status, WallTime created = kBegun + 1s) {
  Sandbox made;
  made.id = "sb-1";
  made.owner = "ann";
  made.template_name = "web";
  made.node_id = "n1";
  made.status = status;
  made.created_at = created;
  return made;
}

NodeStatus node(NodeState state, WallTime joined = kBegun + 1s) {
  NodeStatus status;
  status.node_id = "n1";
  status.state = state;
  status.joined_at = joined;
  return status;
}

Template entry(TemplateStatus status, const std::string& run = "op-1", WallTime updated = kBegun + 1s) {
  Template made;
  made.owner = "ann";
  made.name = "web";
  made.image = "nginx";
  made.status = status;
  made.operation_id = run;
  made.updated_at = updated;
  return made;
}

}  // namespace

TEST_CASE("a sandbox' events are its changes of status", "[events]") {
  ChangeLog log(kBegun);
  CHECK(types(log.sandbox(sandbox(SandboxStatus::creating))) == Types{"sandbox.creating"});
  CHECK(log.sandbox(sandbox(SandboxStatus::creating)).empty());
  auto running = sandbox(SandboxStatus::running);
  running.boot_path = "snapshot";
  running.boot_time_ms = 12;
  const auto events = log.sandbox(running);
  REQUIRE(events.size() == 1);
  CHECK(events[0] == NewEvent{.type = "sandbox.running",
                              .subject = "sb-1",
                              .node_id = "n1",
                              .owner = "ann",
                              .data = R"({"reason":null,"template":"web","boot_path":"snapshot","boot_time_ms":12})"});
  auto failed = sandbox(SandboxStatus::failed);
  failed.reason = "its kernel panicked";
  CHECK(log.sandbox(failed).at(0).data.find("its kernel panicked") != std::string::npos);
}

TEST_CASE("what was there before is no event until it changes", "[events]") {
  ChangeLog log(kBegun);
  CHECK(log.sandbox(sandbox(SandboxStatus::lost, kBegun - 1h)).empty());
  CHECK(types(log.sandbox(sandbox(SandboxStatus::running, kBegun - 1h))) == Types{"sandbox.running"});
  CHECK(log.entry(entry(TemplateStatus::ready, "op-0", kBegun - 1h)).empty());
  CHECK(types(log.entry(entry(TemplateStatus::queued))) == Types{"template.queued"});
  CHECK(log.node(node(NodeState::lost, kBegun - 1h)).empty());
  CHECK(types(log.node(node(NodeState::ready, kBegun - 1h))) == Types{"node.ready"});
}

TEST_CASE("an end is told with its cause, whichever is known first", "[events]") {
  ChangeLog log(kBegun);
  const auto now = ChangeLog::Clock::now();
  SandboxDeath death;
  death.id = "sb-1";
  death.cause = DeathCause::expired;
  death.reason = "its time was over";
  log.sandbox(sandbox(SandboxStatus::running));
  SECTION("the cause before the end") {
    CHECK(log.death(death).empty());
    CHECK(types(log.sandbox_gone("sb-1", &death, now)) == Types{"sandbox.ended"});
  }
  SECTION("the end before the cause") {
    CHECK(log.sandbox_gone("sb-1", nullptr, now).empty());
    CHECK(log.awaits_causes());
    const auto events = log.death(death);
    REQUIRE(types(events) == Types{"sandbox.ended"});
    CHECK(events[0].data.find(R"("cause":"expired")") != std::string::npos);
    CHECK(events[0].data.find("its time was over") != std::string::npos);
  }
  SECTION("no cause at all") {
    CHECK(log.sandbox_gone("sb-1", nullptr, now).empty());
    CHECK(log.late_ends(now + ChangeLog::kCauseWait / 2).empty());
    const auto events = log.late_ends(now + ChangeLog::kCauseWait);
    REQUIRE(types(events) == Types{"sandbox.ended"});
    CHECK(events[0].data.find(R"("cause":null)") != std::string::npos);
  }
  CHECK_FALSE(log.awaits_causes());
  CHECK(log.sandbox_gone("sb-1", &death, now).empty());
  CHECK(log.late_ends(now + 1h).empty());
}

TEST_CASE("a template runs once its run does, and each run is told anew", "[events]") {
  ChangeLog log(kBegun);
  RunRecord run;
  run.id = "op-1";
  run.pipeline = "warmup";
  run.subject = "web";
  run.owner = "ann";
  run.node_id = "n1";
  run.status = RunStatus::running;
  CHECK(log.run(run).empty());
  CHECK(types(log.entry(entry(TemplateStatus::queued))) == Types{"template.queued"});
  CHECK(types(log.run(run)) == Types{"template.running"});
  CHECK(log.run(run).empty());
  CHECK(log.entry(entry(TemplateStatus::queued)).empty());
  CHECK(log.entry(entry(TemplateStatus::running)).empty());
  CHECK(types(log.entry(entry(TemplateStatus::ready))) == Types{"template.ready"});
  CHECK(log.run(run).empty());
  CHECK(types(log.entry(entry(TemplateStatus::queued, "op-2"))) == Types{"template.queued"});
  CHECK(types(log.entry(entry(TemplateStatus::failed, "op-2"))) == Types{"template.failed"});
  CHECK(types(log.entry_gone("ann", "web")) == Types{"template.removed"});
  CHECK(log.entry_gone("ann", "web").empty());
}

TEST_CASE("a node's events are its coming, its states and its going", "[events]") {
  ChangeLog log(kBegun);
  CHECK(types(log.node(node(NodeState::lost))) == Types{"node.joined"});
  CHECK(types(log.node(node(NodeState::ready))) == Types{"node.ready"});
  CHECK(log.node(node(NodeState::ready)).empty());
  CHECK(types(log.node(node(NodeState::draining))) == Types{"node.draining"});
  CHECK(types(log.node_gone("n1")) == Types{"node.removed"});
  CHECK(types(log.node(node(NodeState::ready))) == Types{"node.joined", "node.ready"});
}

TEST_CASE("restarts that rose are told, those from before are not", "[events]") {
  ChangeLog log(kBegun);
  auto beat = node(NodeState::ready);
  ConcernReport report;
  report.concern = "image_puller";
  report.restarts = 3;
  report.last_error = "it threw";
  beat.beat.concerns = {report};
  log.node(beat);
  CHECK(log.node(beat).empty());
  beat.beat.concerns[0].restarts = 4;
  const auto events = log.node(beat);
  REQUIRE(types(events) == Types{"supervision.restarted"});
  CHECK(events[0].subject == "n1/image_puller");
  CHECK(events[0].data == R"({"concern":"image_puller","reason":"it threw","restarts":4})");
  beat.beat.concerns[0].restarts = 0;  // its daemon was started anew
  CHECK(log.node(beat).empty());
  CHECK(log.concern("node_registry", 0, "").empty());
  CHECK(log.concern("node_registry", 1, "it threw").at(0).subject == "control/node_registry");
  CHECK(log.concern("node_registry", 1, "it threw").empty());
}
