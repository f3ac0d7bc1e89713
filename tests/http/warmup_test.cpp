#include "resources_fixture.hpp"

namespace nanobox::test {

namespace {

std::string warmup(const std::string& more) {
  return R"({"name":"n","image":"busybox")" + (more.empty() ? "" : "," + more) + "}";
}

}  // namespace

TEST_CASE_METHOD(Resources, "prime says what runs before the snapshot, and when that has done its part",
                 "[http][resources]") {
  const auto prime_of = [&](const std::string& prime) {
    CHECK(post("/templates/warmup", warmup(R"("prime":)" + prime)).status == 202);
    return stand_in->warmup->prime;
  };
  CHECK_FALSE(prime_of("null"));
  CHECK(prime_of(R"({"command":"python3","args":["-c","import numpy"]})") ==
        Prime{.command = "python3", .args = {"-c", "import numpy"}, .background = false, .ready = std::nullopt});
  CHECK(prime_of(R"({"command":"httpd","background":true})")->background);
  CHECK(prime_of(R"({"command":"httpd","background":true,"ready":{"port":80}})")->ready ==
        Prime::Ready{.command = "", .port = 80, .timeout_ms = 60'000});
  CHECK(prime_of(R"({"command":"httpd","background":true,"ready":{"command":"test -e /up","timeout_ms":5}})")->ready ==
        Prime::Ready{.command = "test -e /up", .port = 0, .timeout_ms = 5});
}

TEST_CASE_METHOD(Resources, "a prime that cannot work is refused by its field", "[http][resources]") {
  const auto pointer_of = [&](const std::string& more) -> std::string {
    const auto refused = post("/templates/warmup", warmup(more));
    CHECK(refused.status == 422);
    return refused.at("/errors/0/pointer");
  };
  const auto ready = [](const std::string& ready) {
    return R"("prime":{"command":"x","background":true,"ready":)" + ready + "}";
  };
  CHECK(pointer_of(R"("prime":{})") == "/prime/command");
  CHECK(pointer_of(R"("prime":{"command":"x"},"snapshot":false)") == "/prime");
  CHECK(pointer_of(R"("prime":{"command":"x","ready":{"port":80}})") == "/prime/ready");
  CHECK(pointer_of(ready("{}")) == "/prime/ready/command");
  CHECK(pointer_of(ready(R"({"command":"x","port":80})")) == "/prime/ready/command");
  CHECK(pointer_of(ready(R"({"port":0})")) == "/prime/ready/port");
  CHECK(pointer_of(ready(R"({"port":65536})")) == "/prime/ready/port");
  CHECK(pointer_of(ready(R"({"port":80,"timeout_ms":0})")) == "/prime/ready/timeout_ms");
  CHECK(pointer_of(ready(R"({"port":80,"timeout_ms":3600001})")) == "/prime/ready/timeout_ms");
  CHECK(post("/templates/warmup", warmup(R"("prime":{"command":"x","after":1})")).code() == "unknown_field");
  CHECK(post("/templates/warmup", warmup(ready(R"({"url":"/"})"))).code() == "unknown_field");
  CHECK(post("/templates/warmup", warmup(R"("prime":"x")")).code() == "wrong_type");
  CHECK_FALSE(stand_in->warmup);
}

TEST_CASE_METHOD(Resources, "a ready template's progress names the last stage that ran", "[http][resources]") {
  auto entry = *boards->templates.find(template_key("admin", "web"));
  entry.operation_id = "op-1";
  boards->templates.publish(template_key("admin", "web"), entry);
  const auto stage = [&] { return std::string(get("/templates/web/status").at("/progress/stage")); };
  CHECK(stage() == "publish");
  RunRecord run;
  run.id = "op-1";
  run.status = RunStatus::succeeded;
  run.stages = {{.name = "publish", .status = StageStatus::succeeded},
                {.name = "snapshot", .status = StageStatus::succeeded}};
  boards->runs.publish(run.id, run);
  CHECK(stage() == "snapshot");
  run.stages.back().status = StageStatus::skipped;
  boards->runs.publish(run.id, run);
  CHECK(stage() == "publish");
}

}  // namespace nanobox::test
