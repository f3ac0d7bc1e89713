#include <catch2/catch.hpp>

#include "actors/cluster/event_log.hpp"
#include "tests/actors/actor_system_fixture.hpp"

using namespace nanobox;
using namespace nanobox::test;
using namespace std::chrono_literals;

namespace {

struct WatchedBoards : ActorSystemFixture {
  std::shared_ptr<ControlServices> control = std::make_shared<ControlServices>();
  std::shared_ptr<ChangeLog> changes = std::make_shared<ChangeLog>(wall_now());
  Boards& boards() { return *control->boards; }

  WatchedBoards() {
    control->boards = std::make_shared<Boards>();
    control->events = std::make_shared<EventRing>(100);
  }
  caf::actor start_log() {
    auto log = start(event_log, SharedControl(control), changes);
    settle();
    return log;
  }
  void publish(SandboxStatus status) {
    Sandbox sandbox;
    sandbox.id = "sb-1";
    sandbox.status = status;
    sandbox.created_at = wall_now() + 1s;
    boards().sandboxes.publish(sandbox.id, sandbox);
    settle();
  }
  std::vector<std::string> told() const {
    std::vector<std::string> types;
    const auto slice = control->events->behind(0, {}, 100);
    for (const auto& event : slice.events) types.push_back(event->type);
    return types;
  }
};
using Types = std::vector<std::string>;

}  // namespace

TEST_CASE_METHOD(WatchedBoards, "what changes on the boards is told", "[events]") {
  start_log();
  publish(SandboxStatus::creating);
  publish(SandboxStatus::running);
  NodeStatus node;
  node.node_id = "n1";
  node.joined_at = wall_now() + 1s;
  node.state = NodeState::ready;
  boards().nodes.publish("n1", node);
  boards().concerns.publish("node_registry", {.concern = "node_registry",
                                              .gauge = {},
                                              .restarts = 1,
                                              .deaths = {},
                                              .reason = "it threw",
                                              .unsteady_until = {}});
  SandboxDeath death;
  death.id = "sb-1";
  death.cause = DeathCause::asked;
  boards().deaths.publish("sb-1", death);
  boards().sandboxes.erase("sb-1");
  settle();
  CHECK(told() == Types{"sandbox.creating", "sandbox.running", "node.joined", "node.ready", "supervision.restarted",
                        "sandbox.ended"});
}

TEST_CASE_METHOD(WatchedBoards, "a log that died is followed by one that tells what it missed, and nothing twice",
                 "[events]") {
  const auto log = start_log();
  publish(SandboxStatus::creating);
  caf::anon_send_exit(log, caf::exit_reason::kill);
  settle();
  publish(SandboxStatus::running);
  publish(SandboxStatus::pausing);
  CHECK(told() == Types{"sandbox.creating"});
  start_log();
  CHECK(told() == Types{"sandbox.creating", "sandbox.pausing"});
  publish(SandboxStatus::pausing);
  publish(SandboxStatus::paused);
  CHECK(told() == Types{"sandbox.creating", "sandbox.pausing", "sandbox.paused"});
}
