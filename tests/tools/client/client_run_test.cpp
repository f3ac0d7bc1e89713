#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <fstream>
#include <future>
#include <iterator>

#include "config/child_process.hpp"
#include "config/settings.hpp"

using namespace nanobox;
using namespace std::chrono_literals;

namespace {

/// The built client in a folder of its own, with the stand-in as its nanoboxd.
class Client {
public:
  Client() {
    std::string name = std::filesystem::temp_directory_path() / "nanobox-client-XXXXXX";
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    folder_ = name;
    std::filesystem::create_directory(folder_ / "bin");
    std::filesystem::create_directory(data());
    // A client beside no nanoboxd: the one in PATH, the stand-in, is taken.
    std::filesystem::copy_file(NANOBOX_PROGRAM, folder_ / "bin/nanobox");
  }
  ~Client() {
    CHECK_FALSE(server_runs());
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }

  Command command(std::vector<std::string> args, const std::vector<std::string>& more_env = {}) const {
    std::vector<std::string> env = {"PATH=" NANOBOX_STAND_IN ":/usr/bin:/bin", "NANOBOX_DATA=" + data().string()};
    env.insert(env.end(), more_env.begin(), more_env.end());
    return {.program = folder_ / "bin/nanobox", .arguments = std::move(args), .env = env, .descriptors = {}};
  }

  CommandOutput run(std::vector<std::string> args, const std::vector<std::string>& more_env = {}) const {
    return run_command(command(std::move(args), more_env), 60s).value();
  }

  /// Whether the private server holds its folder.
  bool server_runs() const { return std::filesystem::exists(private_folder() / "address"); }
  std::string requests() const {
    std::ifstream file(private_folder() / "requests.log");
    return {std::istreambuf_iterator<char>(file), {}};
  }
  std::size_t count(std::string_view what) const {
    const auto all = requests();
    std::size_t times = 0;
    for (auto at = all.find(what); at != std::string::npos; at = all.find(what, at + 1)) ++times;
    return times;
  }
  std::filesystem::path data() const { return folder_ / "data"; }
  std::filesystem::path private_folder() const { return data() / "client"; }

private:
  std::filesystem::path folder_;
};

}  // namespace

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
  CHECK(run({"run", "-t", "1", "x", "sleep", "30"}).exit.exit_code == 124);
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
  const UniqueFd changes{::inotify_init1(IN_CLOEXEC)};
  REQUIRE(::inotify_add_watch(changes.get(), data().c_str(), IN_CREATE) >= 0);
  auto child =
      ChildProcess::spawn(command({"run", "x", "--", "sh", "-c", "touch " + ready.string() + "; sleep 2"})).value();
  while (!std::filesystem::exists(ready)) {
    pollfd waiting{changes.get(), POLLIN, 0};
    REQUIRE(::poll(&waiting, 1, 60'000) == 1);
    char events[4096];
    REQUIRE(::read(changes.get(), events, sizeof events) > 0);
  }
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
  for (const char* name :
       {"run", "warmup", "ps", "create", "exec", "rm", "logs", "templates", "doctor", "nodes", "stats"}) {
    CHECK(all.find(std::string("\n  ") + name + " ") != std::string::npos);
    const auto help = run({name, "--help"});
    CHECK(help.exit.exit_code == 0);
    CHECK(help.out.find(std::string("Usage: nanobox ") + name + " ") != std::string::npos);
  }
}
