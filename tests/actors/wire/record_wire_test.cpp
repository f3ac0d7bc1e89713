#include "pipeline/record_fields.hpp"
#include "tests/actors/wire/wire_check.hpp"
#include "tests/actors/wire/wire_values.hpp"

using namespace nanobox;
using namespace nanobox::test;

namespace {

std::string with(std::string text, const std::string& old, const std::string& other) {
  const auto found = text.find(old);
  REQUIRE(found != std::string::npos);
  return text.replace(found, old.size(), other);
}

}  // namespace

TEST_CASE("what has a record comes over the wire as it was, or not at all", "[wire]") {
  travels(Sandbox{}, full_sandbox());
  travels(full_sandbox());
  travels(SandboxNetwork{}, full_network());
  travels(full_network());
  travels(Template{}, full_template());
  travels(full_template());
  travels(RunRecord{}, full_run());
  travels(full_run());
  travels(PoolState{.owner = "a", .template_name = "t", .ready = 1, .min_ready = 2, .max_ready = 3, .problem = "p"});
  travels(StageProgress{.done_bytes = 1,
                        .total_bytes = 2,
                        .detail = "d",
                        .layers = {{.digest = "x", .done_bytes = 3, .total_bytes = 4}, {}}});
  travels(ImageRequest{}, full_warmup().image);
  travels(full_warmup().image);
  travels(WarmupRequest{}, full_warmup());
  travels(full_warmup());
  travels(WarmupAnswer{.name = "n", .operation_id = "op", .status = TemplateStatus::failed});
  travels(Forked{.children = {full_sandbox(), Sandbox{}}, .pause_us = -1, .frozen_us = 2});
}

TEST_CASE("every value of an enumeration has a name that is read again", "[wire]") {
  for (unsigned value = 1; value <= static_cast<unsigned>(ErrorCode::internal); ++value) {
    RunRecord run;
    run.error = full_error(static_cast<ErrorCode>(value));
    CHECK(run_from_record(run_to_record(run)) == run);
  }
  for (const auto status :
       {SandboxStatus::creating, SandboxStatus::running, SandboxStatus::pausing, SandboxStatus::paused,
        SandboxStatus::resuming, SandboxStatus::stopping, SandboxStatus::failed}) {
    Sandbox read;
    REQUIRE(reads(written(sandbox_in(status)), read));
    CHECK(read.status == status);
  }
}

TEST_CASE("a record of a run or a pool is taken exactly or not at all", "[wire]") {
  const auto run = full_run();
  const auto text = run_to_record(run);
  REQUIRE(run_from_record(text) == run);
  const PoolState pool{.owner = "a", .template_name = "t", .ready = 1, .min_ready = 2, .max_ready = 3, .problem = "p"};
  CHECK(pool_from_record(pool_to_record(pool)) == pool);

  CHECK(run_from_record(with(text, "\"id\":", "\"later\":{\"x\":[1]},\"id\":")) == run);

  CHECK_FALSE(run_from_record(with(text, "\"id\":", "\"ib\":")));
  CHECK_FALSE(run_from_record(with(text, "\"cancelled\"", "\"sprinting\"")));
  CHECK_FALSE(run_from_record(with(text, "\"cancelled\"", "\"unknown\"")));
  CHECK_FALSE(run_from_record(with(text, "\"cancelled\"", "3")));
  CHECK_FALSE(run_from_record(with(text, "\"malformed_request\"", "\"none_reserved\"")));
  CHECK_FALSE(run_from_record(with(text, "\"attempts\":3", "\"attempts\":4294967296")));
  CHECK_FALSE(run_from_record(with(text, "\"attempts\":3", "\"attempts\":-3")));
  CHECK_FALSE(run_from_record(with(text, "\"attempts\":3", "\"attempts\":3.5")));
  CHECK_FALSE(run_from_record(with(text, "\"attempts\":3", "\"attempts\":null")));
  CHECK_FALSE(run_from_record(with(text, "\"transient\":true", "\"transient\":1")));
  CHECK_FALSE(run_from_record(with(text, "\"started_at\":11", "\"started_at\":9223372036854775807")));
  CHECK_FALSE(run_from_record(with(text, "\"subject\":\"web\"", "\"subject\":[256]")));
  CHECK_FALSE(run_from_record(with(text, "\"subject\":\"web\"", "\"subject\":\"\xff\"")));
  CHECK_FALSE(run_from_record(text + "x"));
  CHECK_FALSE(run_from_record("[" + text + "]"));
  CHECK_FALSE(run_from_record("{}"));
  CHECK_FALSE(run_from_record("null"));
  CHECK_FALSE(run_from_record(""));
}

TEST_CASE("a record that nests without end, or names a key twice, does no harm", "[wire]") {
  CHECK_FALSE(run_from_record(std::string(1 << 20, '[')));
  CHECK_FALSE(run_from_record("{\"stages\":" + std::string(1 << 20, '[') + std::string(1 << 20, ']') + "}"));
  Sandbox sandbox;
  sandbox.env = {{"A", "1"}};
  const auto text = write_fields(sandbox);
  CHECK(read_fields<Sandbox>(text));
  CHECK_FALSE(read_fields<Sandbox>(with(text, R"(["A","1"])", R"(["A","1"],["A","2"])")));
  CHECK_FALSE(read_fields<Sandbox>(with(text, R"(["A","1"])", R"(["A"])")));
}

TEST_CASE("a status that is none is not sent as one", "[wire]") {
  CHECK(refused<Sandbox>(written(sandbox_in(static_cast<SandboxStatus>(99)))));
}

TEST_CASE("an error travels, but not with a code that is none", "[wire]") {
  const auto error = full_error(ErrorCode::node_lost);
  auto wire = written(error);
  Error read;
  REQUIRE(reads(wire, read));
  CHECK(read == error);
  for (const int code : {0, static_cast<int>(ErrorCode::internal) + 1, 255}) {
    wire[0] = static_cast<char>(code);
    CHECK(refused<Error>(wire));
  }
  for (std::size_t size = 0; size < wire.size(); ++size) CHECK(refused<Error>(Wire(wire.begin(), wire.begin() + size)));
}
