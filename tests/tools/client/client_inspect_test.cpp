#include "tests/tools/client/client_fixture.hpp"

using namespace nanobox;

namespace {

bool has(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("a living sandbox is shown in full, with its processes and its last run", "[client][inspect]") {
  const ClientWithSandbox client;
  REQUIRE(client.run({"exec", "-d", "sb-0", "sleep", "100"}).exit.exit_code == 0);

  const auto shown = client.run({"inspect", "sb-0"});

  CHECK(shown.exit.exit_code == 0);
  CHECK(shown.out.starts_with("sandbox"));
  for (const char* part :
       {"sb-0", "running", "pool, in 890 ms", "(in ", "sleep 100", "last run: boot, succeeded", "412 us", "restored"})
    CHECK(has(shown.out, part));
  const auto json = client.run({"inspect", "sb-0", "--json"}).out;
  CHECK(has(json, R"({"kind":"sandbox","sandbox":{)"));
  CHECK(has(json, R"("pipeline":"boot")"));
  CHECK(client.run({"kill", "--signal", "KILL", "sb-0", "pr-0"}).exit.exit_code == 0);
}

TEST_CASE("why a sandbox ended is told, the cause first and the console last", "[client][inspect]") {
  const ClientWithSandbox client;

  const auto shown = client.run({"inspect", "sb-dead"});

  CHECK(shown.exit.exit_code == 3);
  CHECK(shown.out.starts_with("cause"));
  for (const char* part : {"out_of_memory", "4m 03s", "3.2 s", "256 MiB", "the guest's kernel panicked"})
    CHECK(has(shown.out, part));
  CHECK(shown.out.ends_with("the console's last lines:\n  one\n  ?[31mtwo\n"));
  CHECK(has(client.run({"inspect", "sb-dead", "--json"}).out, R"({"kind":"death","death":{)"));
}

TEST_CASE("templates and nodes are shown by their names, and what is nothing is said to be", "[client][inspect]") {
  const ClientWithSandbox client;
  REQUIRE(client.run({"warmup", "img", "--name", "web"}).exit.exit_code == 0);
  CHECK(client.run({"inspect", "web"}).out.starts_with("template"));
  CHECK(has(client.run({"inspect", "node-a"}).out, "ready"));
  const auto unknown = client.run({"inspect", "nothing"});
  CHECK(unknown.exit.exit_code == 1);
  CHECK(has(unknown.err, "nothing"));
  CHECK(client.run({"inspect"}).exit.exit_code == 2);
}
