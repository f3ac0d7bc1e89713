#include "actors/supervisor.hpp"

#include <catch2/catch.hpp>

#include "actors/concerns.hpp"
#include "tests/actors/actor_system_fixture.hpp"

using namespace nanobox;
using namespace std::chrono_literals;

namespace {

/// A concern that dies of one kind of work.
using FragileActor = caf::typed_actor<caf::replies_to<work_atom, int>::with<int>, caf::reacts_to<cancel_atom>>;

FragileActor::behavior_type fragile() {
  return {
      [](work_atom, int input) -> int {
        if (input < 0) throw std::runtime_error("it cannot take that");
        return input + 1;
      },
      [](cancel_atom) {},
  };
}

class SupervisorFixture : public nanobox::test::ActorSystemFixture {
protected:
  FragileActor supervised(RestartPolicy policy = {}) {
    auto handle = supervise(
        system(), "fragile", boards,
        [starts = starts](caf::actor_system& on) {
          ++*starts;
          return on.spawn(fragile);
        },
        policy);
    keep(handle);
    settle();
    return handle;
  }

  /// What a request is answered with, once all actors have nothing more to do.
  std::optional<Result<int>> ask(const FragileActor& concern, int input) {
    auto answer = std::make_shared<std::optional<Result<int>>>();
    start([concern, input, answer](caf::event_based_actor* self) {
      self->request(concern, 10s, work_atom_v, input)
          .then([answer](int value) { answer->emplace(value); },
                [answer](caf::error& error) { answer->emplace(fail(from_caf(error, "work"))); });
    });
    settle();
    return *answer;
  }

  std::shared_ptr<Boards> boards = std::make_shared<Boards>();
  std::shared_ptr<int> starts = std::make_shared<int>(0);
};

}  // namespace

TEST_CASE_METHOD(SupervisorFixture, "a supervised concern answers as if it was asked itself", "[supervisor]") {
  const auto concern = supervised();

  const auto answer = ask(concern, 1);

  REQUIRE((answer && *answer));
  CHECK(**answer == 2);
  CHECK(*starts == 1);
}

TEST_CASE_METHOD(SupervisorFixture, "a request that kills its concern fails and may be tried again", "[supervisor]") {
  const auto concern = supervised();

  const auto answer = ask(concern, -1);

  REQUIRE((answer && !*answer));
  CHECK(answer->error().transient);
}

TEST_CASE_METHOD(SupervisorFixture, "a concern that died is started again after a pause", "[supervisor]") {
  const auto concern = supervised({.first_back_off = 100ms});
  ask(concern, -1);

  const auto meanwhile = ask(concern, 1);
  let_pass(150ms);
  const auto later = ask(concern, 1);

  REQUIRE((meanwhile && !*meanwhile));
  CHECK(meanwhile->error().transient);
  REQUIRE((later && *later));
  CHECK(*starts == 2);
}

TEST_CASE_METHOD(SupervisorFixture, "the pause doubles with each death", "[supervisor]") {
  const auto concern = supervised({.first_back_off = 100ms});
  ask(concern, -1);
  let_pass(150ms);
  ask(concern, -1);

  let_pass(150ms);
  CHECK(*starts == 2);
  let_pass(100ms);
  CHECK(*starts == 3);
}

TEST_CASE_METHOD(SupervisorFixture, "a concern that dies often makes the node unsteady, and says why", "[supervisor]") {
  const auto concern = supervised({.first_back_off = 1ms, .unsteady_deaths = 3});
  for (int death = 0; death < 2; ++death) {
    ask(concern, -1);
    let_pass(10ms);
  }
  REQUIRE(boards->concerns.find("fragile"));
  CHECK_FALSE(boards->concerns.find("fragile")->unsteady_until);

  ask(concern, -1);

  const auto health = boards->concerns.find("fragile");
  CHECK(health->deaths.size() == 3);
  CHECK(health->unsteady_until);
  CHECK_FALSE(health->reason.empty());
}

TEST_CASE_METHOD(SupervisorFixture, "a supervisor that is told to exit ends its concern and starts none",
                 "[supervisor]") {
  const auto concern = supervised();
  caf::anon_send_exit(concern, caf::exit_reason::user_shutdown);
  settle();
  let_pass(1min);

  CHECK(*starts == 1);
  const auto answer = ask(concern, 1);
  REQUIRE((answer && !*answer));
}
