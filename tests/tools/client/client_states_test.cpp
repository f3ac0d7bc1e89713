#include "tests/tools/client/client_fixture.hpp"

using namespace nanobox;

namespace {

bool has(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("a sandbox is paused, listed, told of where it is needed, and resumed", "[client]") {
  const ClientWithSandbox client;
  CHECK(client.run({"pause", "sb-0"}).out == "sb-0\n");
  const auto list = client.run({"ps"}).out;
  CHECK(has(list, "BOOT TIME"));
  CHECK(has(list, "paused"));
  CHECK(has(list, "  pool  890 ms"));
  const auto refused = client.run({"exec", "sb-0", "true"});
  CHECK(refused.exit.exit_code == 125);
  CHECK(has(refused.err, "nanobox resume SANDBOX"));
  CHECK(has(client.run({"port-forward", "sb-0", "1:1"}).err, "nanobox resume sb-0"));
  CHECK(has(client.run({"resume", "--json", "sb-0"}).out, "\"restore_time_ms\": 12"));
  CHECK(client.run({"exec", "sb-0", "echo", "on"}).out == "on\n");
}

TEST_CASE("a fork says its children's ids, one a line", "[client]") {
  const ClientWithSandbox client;
  CHECK(client.run({"fork", "sb-0"}).out == "sb-0-0\n");
  CHECK(client.run({"fork", "--count", "3", "sb-0"}).out == "sb-0-0\nsb-0-1\nsb-0-2\n");
  CHECK(has(client.run({"fork", "-n2", "--json", "sb-0"}).out, "\"pause_ms\": 11.042"));
  for (const char* count : {"0", "101", "x"}) CHECK(client.run({"fork", "--count", count, "sb-0"}).exit.exit_code == 1);
  CHECK(client.count("POST /api/v1/sandboxes/sb-0/fork") == 3);
}

TEST_CASE("a snapshot says its template's name", "[client]") {
  const ClientWithSandbox client;
  CHECK(client.run({"snapshot", "sb-0", "with-deps"}).out == "with-deps\n");
  CHECK(has(client.run({"snapshot", "sb-0", "with-deps", "--json"}).out, "\"parent\": \"x\""));
  CHECK(client.run({"snapshot", "sb-0"}).exit.exit_code == 2);
  const auto gone = client.run({"snapshot", "sb-9", "x"});
  CHECK(gone.exit.exit_code == 1);
  CHECK(has(gone.err, "sb-9"));
}

TEST_CASE("create passes on how to boot and what becomes of it at its end", "[client]") {
  const ClientWithSandbox client;
  const auto made = client.run({"create", "x", "--boot", "cold", "--on-timeout", "pause", "--json"}).out;
  CHECK(has(made, "\"boot_path\": \"cold\""));
  CHECK(has(made, "\"on_timeout\": \"pause\""));
  CHECK(client.run({"rm", "sb-1"}).out == "sb-1\n");
}

TEST_CASE("what is to run before a snapshot is passed on", "[client]") {
  const ClientWithSandbox client;
  const auto warmed = [&](std::vector<std::string> options) {
    std::vector<std::string> args = {"warmup", "img", "--json"};
    args.insert(args.end(), options.begin(), options.end());
    return client.run(args);
  };
  CHECK(has(warmed({}).out, "\"prime\": null"));
  CHECK(has(warmed({"--no-snapshot"}).out, "\"snapshot\": false"));
  const auto plain = warmed({"--prime", "make \"all\""}).out;
  CHECK(has(plain, R"("command": "/bin/sh", "args": ["-c", "make \"all\""], "background": false)"));
  CHECK_FALSE(has(plain, "ready\": {"));
  CHECK(has(warmed({"--prime", "serve", "--prime-background"}).out, "\"background\": true"));
  CHECK(has(warmed({"--prime", "serve", "--prime-ready-port", "80", "--prime-ready-timeout", "5"}).out,
            R"("background": true, "ready": {"port": 80, "timeout_ms": 5000})"));
  CHECK(has(warmed({"--prime", "serve", "--prime-ready-command", "test -e /up"}).out,
            R"("ready": {"command": "test -e /up"})"));
}

TEST_CASE("options for what runs before a snapshot that contradict each other are refused here", "[client]") {
  const ClientWithSandbox client;
  const auto refusal = [&](std::vector<std::string> options) {
    std::vector<std::string> args = {"warmup", "img"};
    args.insert(args.end(), options.begin(), options.end());
    const auto done = client.run(args);
    CHECK(done.exit.exit_code == 1);
    return done.err;
  };
  CHECK(has(refusal({"--prime-background"}), "add --prime COMMAND"));
  CHECK(has(refusal({"--prime", ""}), "empty"));
  CHECK(has(refusal({"--prime", "x", "--no-snapshot"}), "leave out --prime"));
  CHECK(
      has(refusal({"--prime", "x", "--prime-ready-port", "1", "--prime-ready-command", "y"}), "leave one of them out"));
  CHECK(has(refusal({"--prime", "x", "--prime-ready-timeout", "1"}), "nothing to wait for"));
  CHECK(has(refusal({"--prime", "x", "--prime-ready-port", "65536"}), "65535"));
  CHECK(client.count("POST /api/v1/templates/warmup") == 1);
}
