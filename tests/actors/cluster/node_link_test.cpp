#include "actors/cluster/node_link.hpp"

#include <catch2/catch.hpp>

#include "tests/actors/actor_system_fixture.hpp"

using namespace nanobox;
using namespace std::chrono_literals;

namespace {

/// A control plane that lets the node in and counts what it hears.
struct StandInPlane {
  std::size_t beats = 0;
  NodeBeat last_beat;
  std::size_t admissions = 0;
  NodeInboxActor inbox;
};

NodeInboxActor::behavior_type stand_in_inbox(std::shared_ptr<StandInPlane> plane) {
  return {[plane](beat_atom, const NodeBeat& beat) {
            ++plane->beats;
            plane->last_beat = beat;
          },
          [](news_atom, const NodeNews&) {}};
}

class LinkFixture : public nanobox::test::ActorSystemFixture {
protected:
  LinkFixture() {
    const auto door = start([this](NodeDoorActor::pointer) -> NodeDoorActor::behavior_type {
      return {[](greet_atom) { return std::string("challenge"); },
              [this](hello_atom, const NodeHello&, const NodeFaceActor&, const std::string&) {
                ++plane->admissions;
                plane->inbox = start(stand_in_inbox, plane);
                return Admission{.inbox = plane->inbox, .epoch = plane->admissions, .given_up = {}};
              }};
    });
    auto services = std::make_shared<Services>();
    services->boards = boards;
    Node node;
    node.services = services;
    NodeHello description;
    description.node_id = "n1";
    start(node_link, node, Fetchers(),
          ControlPlaneDoor{.open = [door]() -> Result<NodeDoorActor> { return door; },
                           .prove = [](const std::string&) -> Result<std::string> { return std::string(); }},
          description);
    settle();
  }

  /// What the last beat says of a concern.
  ConcernReport told(const std::string& concern) const {
    for (const auto& report : plane->last_beat.concerns)
      if (report.concern == concern) return report;
    return {};
  }

  std::shared_ptr<Boards> boards = std::make_shared<Boards>();
  std::shared_ptr<StandInPlane> plane = std::make_shared<StandInPlane>();
};

}  // namespace

TEST_CASE_METHOD(LinkFixture, "a node beats once a second, however often it connected anew within one", "[cluster]") {
  REQUIRE(plane->beats == 1);
  for (std::size_t time = 2; time <= 4; ++time) {
    caf::anon_send_exit(plane->inbox, caf::exit_reason::kill);
    settle();
    let_pass(200ms);
    REQUIRE(plane->admissions == time);
  }

  plane->beats = 0;
  for (int second = 0; second < 5; ++second) let_pass(1s);

  CHECK(plane->beats == 5);
}

TEST_CASE_METHOD(LinkFixture, "a beat tells how the node's concerns fare", "[cluster]") {
  auto gauge = std::make_shared<ConcernGauge>();
  gauge->handed = 12;
  gauge->mailbox = 2;
  gauge->wait_us = 700;
  ConcernHealth health;
  health.concern = "scheduler";
  health.gauge = gauge;
  health.restarts = 3;
  health.reason = std::string(5000, 'x');
  boards->concerns.publish("scheduler", health);

  let_pass(1s);

  const auto scheduler = told("scheduler");
  CHECK(scheduler.handled == 10);
  CHECK(scheduler.mailbox == 2);
  CHECK(scheduler.wait_us == 700);
  CHECK(scheduler.restarts == 3);
  CHECK(scheduler.last_error.size() == 1024);
  CHECK_FALSE(scheduler.unsteady);
}

TEST_CASE_METHOD(LinkFixture, "a beat tells how many of a kind there are", "[cluster]") {
  RunRecord run;
  run.id = "op-1";
  run.pipeline = "boot";
  boards->runs.publish(run.id, run);
  Sandbox sandbox;
  sandbox.id = "sb-1";
  sandbox.status = SandboxStatus::running;
  boards->sandboxes.publish(sandbox.id, sandbox);
  boards->pools.publish("ann/web", {.owner = "ann", .template_name = "web", .ready = 2, .problem = {}});
  settle();
  let_pass(1s);
  CHECK(told("boot_run").count == 1);
  CHECK(told("warmup_run").count == 0);
  CHECK(told("vm_supervisor").count == 3);
  CHECK(told("vm_supervisor").parent == "node_agent");

  run_ended(run, RunStatus::succeeded, std::nullopt, precise_now());
  boards->runs.publish(run.id, run);
  settle();
  let_pass(1s);
  CHECK(told("boot_run").count == 0);
}
