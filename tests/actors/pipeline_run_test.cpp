#include <catch2/catch.hpp>

#include "actors/pipeline_run.hpp"
#include "tests/actors/actor_system_fixture.hpp"

using namespace nanobox;
using namespace std::chrono_literals;

namespace {

/// A concern of the test: does what its script says and writes down what it was asked.
using WorkerActor = caf::typed_actor<caf::replies_to<work_atom, std::string, int>::with<int>,
                                     caf::replies_to<undo_atom, std::string>::with<void>, caf::reacts_to<cancel_atom>>;

struct Script {
  std::vector<std::string> asked;
  std::map<std::string, std::vector<Error>> failures;  ///< by stage: the errors of its first attempts
  std::string silent;                                  ///< a stage that never answers
  std::vector<caf::typed_response_promise<int>> unanswered;
};

WorkerActor::behavior_type worker(WorkerActor::pointer self, std::shared_ptr<Script> script) {
  return {
      [=](work_atom, const std::string& stage, int input) -> caf::result<int> {
        script->asked.push_back(stage);
        auto& failures = script->failures[stage];
        if (!failures.empty()) {
          const auto error = failures.front();
          failures.erase(failures.begin());
          return to_caf(error);
        }
        if (stage == script->silent) {
          script->unanswered.push_back(self->make_response_promise<int>());
          return script->unanswered.back();
        }
        return input + 1;
      },
      [=](undo_atom, const std::string& stage) -> caf::result<void> {
        script->asked.push_back("undo " + stage);
        return caf::unit;
      },
      [=](cancel_atom) {
        script->asked.emplace_back("cancel");
        for (auto& promise : std::exchange(script->unanswered, {}))
          promise.deliver(to_caf({.code = ErrorCode::cancelled,
                                  .attempted = "work",
                                  .subject = "",
                                  .reason = "it was cancelled",
                                  .mend = ""}));
      },
  };
}

template <int N>
struct TestStage {
  using Input = int;
  using Output = int;
  static constexpr std::string_view name = N == 0 ? "first" : N == 1 ? "second" : "third";
  static constexpr std::string_view input = "int", output = "int", undo = N < 2 ? "undone" : "";
  static constexpr Concern concern = Concern::scheduler;
  static constexpr std::chrono::milliseconds deadline{10'000};
  static constexpr unsigned retries = N == 1 ? 2 : 0;
  static constexpr bool group_start = N != 1, overlaps_next = N == 0, commits = N == 2;
};
using TestPipeline = Pipeline<TestStage<0>, TestStage<1>, TestStage<2>>;

struct TestConcerns {
  WorkerActor worker;
};
struct TestCall {};

template <class Self, int N>
auto ask(Self* self, const TestConcerns& to, const TestCall&, TestStage<N>, int input) {
  return self->request(to.worker, TestStage<N>::deadline, work_atom_v, std::string(TestStage<N>::name), input);
}
template <class Self, int N>
auto ask_undo(Self* self, const TestConcerns& to, const TestCall&, TestStage<N>) {
  return self->request(to.worker, 10s, undo_atom_v, std::string(TestStage<N>::name));
}
template <class Self>
void interrupt(Self* self, const TestConcerns& to, const TestCall&) {
  self->send(to.worker, cancel_atom_v);
}
template <class Self>
void release(Self*, const TestConcerns&, const TestCall&) {}

using TestRunState = PipelineRunState<TestPipeline, TestConcerns, TestCall>;
struct Seen {
  std::optional<RunRecord> record;
  std::optional<Result<int>> outcome;
};

RunRecorderActor::behavior_type silent_recorder() {
  return {[](record_atom, const RunRecord&) {}};
}

RunActor::behavior_type test_run(RunActor::stateful_pointer<TestRunState> self, WorkerActor to,
                                 RunRecorderActor recorder, std::shared_ptr<Seen> seen) {
  const auto stages = TestPipeline::describe();
  self->state.record = make_run("test", "subject", "admin", "node", {stages.begin(), stages.end()});
  self->state.concerns = {to};
  self->state.recorder = recorder;
  self->state.done = [seen](const RunRecord& record, Result<int> outcome) {
    seen->record = record;
    seen->outcome = std::move(outcome);
  };
  return run_pipeline<TestPipeline>(self, 1);
}

Error transient() {
  return {.code = ErrorCode::registry_unreachable,
          .attempted = "work",
          .subject = "it",
          .reason = "the line broke",
          .mend = "",
          .transient = true};
}
Error final_error() {
  return {.code = ErrorCode::layer_invalid, .attempted = "work", .subject = "it", .reason = "it is broken", .mend = ""};
}

class PipelineRunFixture : public nanobox::test::ActorSystemFixture {
protected:
  RunActor run() {
    const auto to = start(worker, script);
    return start(test_run, to, start(silent_recorder), seen);
  }
  std::shared_ptr<Script> script = std::make_shared<Script>();
  std::shared_ptr<Seen> seen = std::make_shared<Seen>();
  using Asked = std::vector<std::string>;
};

}  // namespace

TEST_CASE_METHOD(PipelineRunFixture, "a run hands each stage's output to the next and succeeds", "[run]") {
  run();
  settle();
  REQUIRE(seen->outcome);
  REQUIRE(seen->outcome->has_value());
  CHECK(**seen->outcome == 4);
  CHECK(script->asked == Asked{"first", "second", "third"});
  CHECK(seen->record->status == RunStatus::succeeded);
  for (const auto& stage : seen->record->stages) CHECK(stage.status == StageStatus::succeeded);
}

TEST_CASE_METHOD(PipelineRunFixture, "a transient failure is tried again from the group's first stage", "[run]") {
  script->failures["second"] = {transient()};
  run();
  settle();
  CHECK_FALSE(seen->outcome);
  let_pass(300ms);
  REQUIRE(seen->outcome);
  CHECK(seen->outcome->has_value());
  CHECK(script->asked == Asked{"first", "second", "cancel", "first", "second", "third"});
  CHECK(seen->record->stages[1].attempts == 2);
}

TEST_CASE_METHOD(PipelineRunFixture, "a stage that stays broken is given up after its retries", "[run]") {
  script->failures["second"] = {transient(), transient(), transient(), transient()};
  run();
  settle();
  let_pass(1s);
  let_pass(1s);
  REQUIRE(seen->outcome);
  CHECK(seen->outcome->error().code == ErrorCode::registry_unreachable);
  CHECK(seen->record->stages[1].attempts == 3);
}

TEST_CASE_METHOD(PipelineRunFixture, "a final failure undoes the finished stages in reverse", "[run]") {
  script->failures["third"] = {final_error()};
  run();
  settle();
  REQUIRE(seen->outcome);
  CHECK(seen->outcome->error().subject == "it");
  CHECK(script->asked == Asked{"first", "second", "third", "undo second", "undo first"});
  CHECK(seen->record->status == RunStatus::failed);
  CHECK(seen->record->stages[0].status == StageStatus::undone);
  CHECK(seen->record->stages[2].status == StageStatus::failed);
}

TEST_CASE_METHOD(PipelineRunFixture, "a failure while the stage before still runs is that one's failure too", "[run]") {
  script->failures["second"] = {final_error()};
  run();
  settle();
  REQUIRE(seen->record);
  CHECK(seen->record->stages[0].status == StageStatus::failed);
  CHECK(seen->record->stages[1].status == StageStatus::failed);
  CHECK(seen->record->stages[2].status == StageStatus::skipped);
}

TEST_CASE_METHOD(PipelineRunFixture, "a cancelled run interrupts the work, undoes and says so", "[run]") {
  script->silent = "second";
  const auto running = run();
  settle();
  caf::anon_send(running, cancel_atom_v);
  settle();
  REQUIRE(seen->outcome);
  CHECK(seen->outcome->error().code == ErrorCode::cancelled);
  CHECK(seen->record->status == RunStatus::cancelled);
  CHECK(script->asked == Asked{"first", "second", "cancel", "undo second", "undo first"});
}

TEST_CASE_METHOD(PipelineRunFixture, "a stage that never answers fails at its deadline", "[run]") {
  script->silent = "third";
  run();
  settle();
  let_pass(9s);
  CHECK_FALSE(seen->outcome);
  let_pass(2s);
  REQUIRE(seen->outcome);
  CHECK(seen->outcome->error().code == ErrorCode::deadline_exceeded);
}

TEST_CASE("errors survive the way through a message with all they say", "[messages]") {
  const Error error{.code = ErrorCode::digest_mismatch,
                    .attempted = "fetch layer",
                    .subject = "sha256:00",
                    .reason = "it differs",
                    .mend = "retry",
                    .transient = true,
                    .retry_after_sec = 7,
                    .fields = {{"/a", "b"}}};
  const auto back = from_caf(to_caf(error), "anything");
  CHECK(back.code == error.code);
  CHECK(back.subject == error.subject);
  CHECK(back.retry_after_sec == 7);
  REQUIRE(back.fields.size() == 1);
  CHECK(back.fields[0].pointer == "/a");
}
