#include "resources_fixture.hpp"

namespace nanobox::test {

using Asked = std::vector<std::string>;

TEST_CASE_METHOD(Resources, "a sandbox is paused and resumed, and each says how long it took", "[http][resources]") {
  const auto paused = post("/sandboxes/sb-1/pause", "");
  CHECK(paused.status == 200);
  CHECK(paused.at("/status") == "paused");
  CHECK(paused.at("/pause_ms") == "41");
  const auto resumed = post("/sandboxes/sb-1/resume", "{}");
  CHECK(resumed.status == 200);
  CHECK(resumed.at("/status") == "running");
  CHECK(resumed.at("/restore_time_ms") == "12");
  CHECK(stand_in->all_asked() == Asked{"pause sb-1", "resume sb-1"});
}

TEST_CASE_METHOD(Resources, "a repeated pause with the same key is done once", "[http][resources]") {
  const std::string key = "Idempotency-Key: k\r\n";
  const auto first = post("/sandboxes/sb-1/pause", "{}", key);
  CHECK(post("/sandboxes/sb-1/pause", "{}", key).text == first.text);
  CHECK(stand_in->all_asked() == Asked{"pause sb-1"});
}

TEST_CASE_METHOD(Resources, "what cannot be meant is refused before any work", "[http][resources]") {
  CHECK(post("/sandboxes/sb-1/pause", R"({"now":true})").code() == "unknown_field");
  CHECK(post("/sandboxes/sb-1/fork", R"({"count":0})").code() == "invalid_value");
  CHECK(post("/sandboxes/sb-1/fork", R"({"count":101})").at("/errors/0/pointer") == "/count");
  CHECK(post("/sandboxes/sb-1/fork", R"({"count":"3"})").status == 400);
  CHECK(post("/sandboxes/sb-1/snapshot", "").code() == "missing_field");
  for (const char* name : {"Upper", "-a", ".a", "a/b"})
    CHECK(post("/sandboxes/sb-1/snapshot", R"({"name":")" + std::string(name) + "\"}").status == 422);
  for (const char* what : {"pause", "resume", "fork", "snapshot"}) {
    CHECK(post("/sandboxes/sb-2/" + std::string(what), "{}").code() == "sandbox_not_found");
    CHECK(post("/sandboxes/sb-1/" + std::string(what), "{}", "", "bbbb").code() == "sandbox_not_found");
  }
  CHECK(stand_in->all_asked().empty());
}

TEST_CASE_METHOD(Resources, "a fork's answer holds the children, and the pause in milliseconds", "[http][resources]") {
  Sandbox child;
  child.parent = "sb-1";
  child.boot_path = "fork";
  for (const char* id : {"sb-2", "sb-3"}) {
    child.id = id;
    stand_in->forked.children.push_back(child);
  }
  const auto forked = [&](std::int64_t pause_us, std::int64_t frozen_us) {
    stand_in->forked.pause_us = pause_us;
    stand_in->forked.frozen_us = frozen_us;
    const auto answer = post("/sandboxes/sb-1/fork", R"({"count":2})");
    CHECK(answer.status == 201);
    return answer.text.substr(answer.text.find("],\"pause_ms\"") + 1);
  };
  const auto answer = post("/sandboxes/sb-1/fork", "");
  REQUIRE(answer.size_of("/items") == 2);
  CHECK(answer.at("/items/1/id") == "sb-3");
  CHECK(answer.at("/items/0/parent") == "sb-1");
  CHECK(forked(11'042, 14'500) == ",\"pause_ms\":11.042,\"frozen_ms\":14.5}");
  CHECK(forked(11'000, 7) == ",\"pause_ms\":11,\"frozen_ms\":0.007}");
  CHECK(forked(0, -5) == ",\"pause_ms\":0,\"frozen_ms\":0}");
  CHECK(stand_in->all_asked() == Asked{"fork sb-1 1", "fork sb-1 2", "fork sb-1 2", "fork sb-1 2"});
}

TEST_CASE_METHOD(Resources, "a snapshot's answer is the template", "[http][resources]") {
  const auto made = post("/sandboxes/sb-1/snapshot", R"({"name":"web-2"})");
  CHECK(made.status == 201);
  CHECK(made.at("/name") == "web-2");
  CHECK(made.at("/parent") == "web");
  CHECK(made.at("/sandboxes") == "0");
  stand_in->refuses = true;
  CHECK(post("/sandboxes/sb-1/snapshot", R"({"name":"web-2"})").code() == "conflict");
}

TEST_CASE_METHOD(Resources, "what needs a paused sandbox's VM says how to get it back", "[http][resources]") {
  for (const auto status : {SandboxStatus::pausing, SandboxStatus::paused, SandboxStatus::resuming}) {
    set_status(status);
    for (const auto& refused :
         {post("/sandboxes/sb-1/exec", R"({"command":"true"})"), get("/sandboxes/sb-1/processes"),
          get("/sandboxes/sb-1/files?path=/"), get("/sandboxes/sb-1/logs"), get("/sandboxes/sb-1/logs?source=init")}) {
      CHECK(refused.status == 409);
      CHECK(refused.code() == "sandbox_paused");
      CHECK(refused.detail().find(to_string(status)) != std::string::npos);
      CHECK(refused.detail().find("POST /api/v1/sandboxes/sb-1/resume") != std::string::npos);
    }
  }
  set_status(SandboxStatus::stopping);
  CHECK(post("/sandboxes/sb-1/exec", R"({"command":"true"})").code() == "sandbox_not_running");
}

TEST_CASE_METHOD(Resources, "a sandbox may be asked for by its way to boot, and to pause at its end",
                 "[http][resources]") {
  const auto way_of = [&](const std::string& text) {
    CHECK(post("/sandboxes", R"({"template":"web","on_timeout":"pause")" + text + "}").status == 201);
    CHECK(stand_in->boot->sandbox.on_timeout == "pause");
    return stand_in->boot->way;
  };
  CHECK(way_of("") == BootWay::automatic);
  CHECK(way_of(R"(,"boot":"auto")") == BootWay::automatic);
  CHECK(way_of(R"(,"boot":"pool")") == BootWay::pool);
  CHECK(way_of(R"(,"boot":"snapshot")") == BootWay::snapshot);
  CHECK(way_of(R"(,"boot":"cold")") == BootWay::cold);
  CHECK(post("/sandboxes", R"({"template":"web","boot":"warm"})").status == 422);
  CHECK(post("/sandboxes", R"({"template":"web","resources":{"vcpus":2}})").code() == "unknown_field");
}

}  // namespace nanobox::test
