#pragma once

#include <caf/actor_system.hpp>
#include <caf/scheduler/test_coordinator.hpp>
#include <caf/scoped_actor.hpp>
#include <vector>

#include "actors/node.hpp"

namespace nanobox::test {

/// Actors on CAF's test scheduler: no threads, and time moves only by `let_pass`.
class ActorSystemFixture {
public:
  ActorSystemFixture()
      : system_(config_), scheduler_(dynamic_cast<caf::scheduler::test_coordinator&>(system_.scheduler())) {}
  ~ActorSystemFixture() {
    for (auto& actor : started_) caf::anon_send_exit(actor, caf::exit_reason::user_shutdown);
    scheduler_.run();
    scheduler_.clock().cancel_all();
    scheduler_.run();
  }
  ActorSystemFixture(const ActorSystemFixture&) = delete;
  ActorSystemFixture& operator=(const ActorSystemFixture&) = delete;

protected:
  template <class... Arguments>
  auto start(Arguments&&... arguments) {
    auto actor = system_.spawn(std::forward<Arguments>(arguments)...);
    started_.push_back(caf::actor_cast<caf::actor>(actor));
    return actor;
  }
  /// Has the actor end with the fixture.
  template <class Handle>
  void keep(const Handle& actor) {
    started_.push_back(caf::actor_cast<caf::actor>(actor));
  }
  caf::actor_system& system() { return system_; }
  void settle() { scheduler_.run(); }
  void let_pass(std::chrono::milliseconds time) {
    scheduler_.advance_time(time);
    scheduler_.run();
  }

private:
  struct TestConfig : ActorSystemConfig {
    TestConfig() { set("scheduler.policy", caf::atom("testing")); }
  };
  TestConfig config_;
  caf::actor_system system_;
  caf::scheduler::test_coordinator& scheduler_;
  std::vector<caf::actor> started_;
};

}  // namespace nanobox::test
