#include <signal.h>

#include <future>

#include "tests/tools/client/client_fixture.hpp"

using namespace nanobox;

TEST_CASE_METHOD(Client, "run without a server starts one, does everything, and stops it", "[client]") {
  const auto done = run({"run", "-e", "WHO=you", "node:22", "--", "sh", "-c", "echo hi $WHO; echo no >&2; exit 7"});
  CHECK(done.exit.exit_code == 7);
  CHECK(done.out == "hi you\n");
  CHECK(done.err.find("no\n") != std::string::npos);
  CHECK(done.err.find("pull  succeeded") != std::string::npos);
  CHECK(count("POST /api/v1/templates/warmup") == 1);
  CHECK(count("DELETE /api/v1/sandboxes/sb-0") == 1);
  CHECK_FALSE(server_runs());
}

TEST_CASE_METHOD(Client, "output is passed on byte by byte, and only the output", "[client]") {
  const auto done = run({"run", "--json", "x", "--", "true"});
  CHECK(done.out.find("\"exit_code\": 0") != std::string::npos);
  const auto raw = run({"run", "x", "--", "printf", "\\000\\377end"});
  CHECK(raw.out == std::string("\0\xff", 2) + "end");
}

TEST_CASE_METHOD(Client, "without a command the image's own is run", "[client]") {
  CHECK(run({"run", "x"}).out == "from image\n");
}

TEST_CASE_METHOD(Client, "a command that is not there, or past its deadline, has the shell's exit code", "[client]") {
  CHECK(run({"run", "x", "/nowhere"}).exit.exit_code == 127);
  CHECK(run({"run", "--timeout", "1", "x", "sleep", "30"}).exit.exit_code == 124);
}

TEST_CASE_METHOD(Client, "a failing warmup says why and exits with 125", "[client]") {
  const auto done = run({"run", "broken", "true"});
  CHECK(done.exit.exit_code == 125);
  CHECK(done.err.find("nanobox: no such image") != std::string::npos);
  CHECK(done.out.empty());
}

TEST_CASE_METHOD(Client, "a kept sandbox keeps the server, until it is removed", "[client]") {
  const auto kept = run({"run", "--keep", "x", "true"});
  CHECK(kept.exit.exit_code == 0);
  CHECK(kept.err.find("nanobox rm sb-0") != std::string::npos);
  REQUIRE(server_runs());
  CHECK(run({"ps"}).out.find("sb-0") != std::string::npos);
  CHECK(run({"exec", "sb-0", "echo", "again"}).out == "again\n");
  CHECK(run({"run", "x", "echo", "second"}).out == "second\n");
  CHECK(count("POST /api/v1/templates/warmup") == 1);
  REQUIRE(server_runs());
  CHECK(run({"rm", "sb-0"}).out == "sb-0\n");
  CHECK_FALSE(server_runs());
}

TEST_CASE_METHOD(Client, "clients that run at once share one server", "[client]") {
  std::vector<std::future<CommandOutput>> clients;
  for (int i = 0; i < 3; ++i)
    clients.push_back(std::async(std::launch::async, [this] {
      return run({"run", "x", "sh", "-c", "sleep 1; echo ok"});
    }));
  for (auto& client : clients) CHECK(client.get().out == "ok\n");
  CHECK_FALSE(server_runs());
}

TEST_CASE_METHOD(Client, "Ctrl-C ends the sandbox and the server, and says so by 130", "[client]") {
  const auto ready = data() / "ready";
  FolderWatch watch(data());
  auto child =
      ChildProcess::spawn(command({"run", "x", "--", "sh", "-c", "touch " + ready.string() + "; sleep 2"})).value();
  watch.until_there(ready);
  child.signal(SIGINT);
  CHECK(child.wait(60s).value().exit_code == 130);
  CHECK(count("DELETE /api/v1/sandboxes/sb-0") == 1);
  CHECK_FALSE(server_runs());
}

TEST_CASE_METHOD(Client, "a server that ends at once is quoted", "[client]") {
  const auto done = run({"run", "x", "true"}, {"STAND_IN_FAIL=the disk is full"});
  CHECK(done.exit.exit_code == 125);
  CHECK(done.err.find("the disk is full") != std::string::npos);
}

TEST_CASE_METHOD(Client, "other commands without a server say how to get one", "[client]") {
  const auto done = run({"ps", "--server", "127.0.0.1:1"});
  CHECK(done.exit.exit_code == 1);
  CHECK(done.err.find("start nanoboxd") != std::string::npos);
  CHECK(run({"ps", "--server", "nonsense://"}).err.find("write http://HOST:PORT") != std::string::npos);
}

TEST_CASE_METHOD(Client, "only this user may read the private server's key", "[client]") {
  REQUIRE(run({"run", "x", "true"}).exit.exit_code == 0);
  using std::filesystem::perms;
  for (const char* name : {"key", "nanobox.toml", "nanoboxd.log"})
    CHECK((std::filesystem::status(private_folder() / name).permissions() & perms::all) ==
          (perms::owner_read | perms::owner_write));
  CHECK((std::filesystem::status(private_folder()).permissions() & perms::all) == perms::owner_all);
}

TEST_CASE_METHOD(Client, "every command teaches by --help", "[client]") {
  const auto all = run({"--help"}).out;
  for (const char* name : {"run",       "exec",   "shell", "ps",     "attach", "kill",     "cp", "port-forward",
                           "logs",      "create", "pause", "resume", "fork",   "snapshot", "rm", "warmup",
                           "templates", "doctor", "nodes", "node",   "stats",  "inspect"}) {
    CHECK(all.find(std::string("\n  ") + name + " ") != std::string::npos);
    const auto help = run({name, "--help"});
    CHECK(help.exit.exit_code == 0);
    CHECK(help.out.find(std::string("Usage: nanobox ") + name + " ") != std::string::npos);
  }
}
