#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

#include <utility>

#include "tests/tools/client/client_fixture.hpp"

using namespace nanobox;

namespace {

struct Pipe {
  Pipe() {
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    reader.reset(ends[0]);
    writer.reset(ends[1]);
  }
  UniqueFd reader, writer;
};

/// What comes next; empty: the end.
std::string read_next(const UniqueFd& pipe) {
  pollfd waiting{pipe.get(), POLLIN, 0};
  REQUIRE(::poll(&waiting, 1, 60'000) == 1);
  char bytes[4096];
  const auto got = ::read(pipe.get(), bytes, sizeof bytes);
  REQUIRE(got >= 0);
  return {bytes, static_cast<std::size_t>(got)};
}

std::string read_until(const UniqueFd& pipe, std::string_view what) {
  std::string all;
  while (all.find(what) == std::string::npos) {
    const auto bytes = read_next(pipe);
    INFO(all);
    REQUIRE_FALSE(bytes.empty());
    all += bytes;
  }
  return all;
}

void write_bytes(const UniqueFd& pipe, std::string_view bytes) {
  REQUIRE(::write(pipe.get(), bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
}

/// A client whose streams are pipes of ours.
class Piped {
public:
  explicit Piped(Command command) : child_(start(std::move(command))) {}
  const UniqueFd& out() const { return out_.reader; }
  UniqueFd& in() { return in_.writer; }
  void signal(int number) { child_.signal(number); }
  void stop_reading() { out_.reader.reset(); }
  int code() { return child_.wait(60s).value().exit_code.value_or(-1); }

private:
  ChildProcess start(Command command) {
    command.descriptors = {{in_.reader.get(), 0}, {out_.writer.get(), 1}};
    auto child = ChildProcess::spawn(command).value();
    in_.reader.reset();
    out_.writer.reset();
    return child;
  }
  Pipe in_, out_;
  ChildProcess child_;
};

}  // namespace

TEST_CASE_METHOD(ClientWithSandbox, "output comes as it is written, long before the end", "[client]") {
  const auto gate = (folder() / "gate").string();
  REQUIRE(::mkfifo(gate.c_str(), 0600) == 0);
  Piped client(command({"exec", "sb-0", "--", "sh", "-c", "printf first; read x < " + gate + "; printf second"}));
  CHECK(read_until(client.out(), "first") == "first");
  std::ofstream(gate) << "go\n";
  CHECK(read_until(client.out(), "second") == "second");
  CHECK(client.code() == 0);
}

TEST_CASE_METHOD(ClientWithSandbox, "each stream keeps its bytes and their order", "[client]") {
  const auto done = run({"exec", "sb-0", "--", "sh", "-c",
                         "for i in 1 2 3; do printf \"o$i\\000\\377\"; printf \"e$i\" >&2; done; exit 9"});
  CHECK(done.exit.exit_code == 9);
  CHECK(done.out == std::string("o1\0\xffo2\0\xffo3\0\xff", 12));
  CHECK(done.err == "e1e2e3");
}

TEST_CASE_METHOD(ClientWithSandbox, "much output arrives whole", "[client]") {
  Piped client(command({"exec", "sb-0", "--", "head", "-c", "5000000", "/dev/zero"}));
  std::size_t bytes = 0;
  for (std::string piece = read_next(client.out()); !piece.empty(); piece = read_next(client.out()))
    bytes += piece.size();
  CHECK(bytes == 5'000'000);
  CHECK(client.code() == 0);
}

TEST_CASE_METHOD(ClientWithSandbox, "stdin is sent while the command runs", "[client]") {
  Piped client(command({"exec", "-i", "sb-0", "--", "sh", "-c", "while read line; do echo got $line; done; echo end"}));
  write_bytes(client.in(), "one\n");
  CHECK(read_until(client.out(), "\n") == "got one\n");
  write_bytes(client.in(), "two\n");
  CHECK(read_until(client.out(), "\n") == "got two\n");
  client.in().reset();
  CHECK(read_until(client.out(), "\n") == "end\n");
  CHECK(client.code() == 0);
}

TEST_CASE_METHOD(ClientWithSandbox, "large binary stdin arrives whole", "[client]") {
  std::string bytes;
  for (std::uint32_t seed = 1; bytes.size() < 3'000'000; seed = seed * 1664525 + 1013904223)
    bytes += static_cast<char>(seed >> 24);
  const auto file = folder() / "input";
  write_file(file, bytes);
  const UniqueFd input{::open(file.c_str(), O_RDONLY | O_CLOEXEC)};
  auto call = command({"exec", "-i", "sb-0", "--", "sh", "-c", "cmp - " + file.string() + " && echo same"});
  call.descriptors = {{input.get(), 0}};
  CHECK(run_command(call, 60s).value().out == "same\n");
}

TEST_CASE_METHOD(ClientWithSandbox, "without -i the command reads an empty stdin", "[client]") {
  CHECK(run({"exec", "sb-0", "--", "sh", "-c", "cat; echo done"}).out == "done\n");
}

TEST_CASE_METHOD(ClientWithSandbox, "a command that does not read its stdin ends all the same", "[client]") {
  Piped client(command({"exec", "-i", "sb-0", "--", "sh", "-c", "exec <&-; echo closed; exit 3"}));
  CHECK(read_until(client.out(), "closed\n") == "closed\n");
  CHECK(client.code() == 3);
}

TEST_CASE_METHOD(ClientWithSandbox, "Ctrl-C ends the command inside and says so by 130", "[client]") {
  Piped client(command({"exec", "sb-0", "--", "sh", "-c",
                        "trap 'echo ended > " + (folder() / "ended").string() +
                            "; exit' TERM; echo ready; "
                            "while :; do sleep 0.1; done"}));
  FolderWatch watch(folder());
  read_until(client.out(), "ready\n");
  client.signal(SIGINT);
  CHECK(client.code() == 130);
  watch.until_there(folder() / "ended");
}

TEST_CASE_METHOD(ClientWithSandbox, "a signal is heard while nobody reads our output", "[client]") {
  Piped client(command({"exec", "sb-0", "--", "sh", "-c", "echo ready; cat /dev/zero"}));
  read_until(client.out(), "ready\n");
  client.signal(SIGTERM);
  CHECK(client.code() == 143);
}

TEST_CASE_METHOD(ClientWithSandbox, "a reader of ours that goes away ends the command, as in a pipe", "[client]") {
  Piped client(command({"exec", "sb-0", "--", "sh", "-c", "while :; do echo y; done"}));
  read_until(client.out(), "y\n");
  client.stop_reading();
  CHECK(client.code() == 141);
}

TEST_CASE_METHOD(ClientWithSandbox, "a deadline is 124, a missing program 127, a wrong sandbox 125", "[client]") {
  CHECK(run({"exec", "--timeout", "1", "sb-0", "sleep", "30"}).exit.exit_code == 124);
  CHECK(run({"exec", "sb-0", "/nowhere"}).exit.exit_code == 127);
  const auto missing = run({"exec", "sb-9", "true"});
  CHECK(missing.exit.exit_code == 125);
  CHECK(missing.err.find("no sandbox has the id 'sb-9'") != std::string::npos);
}

TEST_CASE_METHOD(ClientWithSandbox, "with --json the output comes in one object", "[client]") {
  const auto done = run({"exec", "--json", "sb-0", "echo", "hi"});
  CHECK(done.out.find("\"stdout\": \"aGkK\"") != std::string::npos);
}

TEST_CASE_METHOD(ClientWithSandbox, "a detached command is listed, attached to, written to and ended", "[client]") {
  const auto started = run({"exec", "-d", "-i", "sb-0", "--", "sh", "-c", "echo begun; read x; echo got $x; exit 4"});
  REQUIRE(started.exit.exit_code == 0);
  const auto id = started.out.substr(0, started.out.find('\n'));
  CHECK(id == "pr-1");  // pr-0 made the sandbox
  const auto list = run({"ps", "sb-0"}).out;
  CHECK(list.find("running") != std::string::npos);
  CHECK(list.find("sh -c 'echo begun; read x; echo got $x; exit 4'") != std::string::npos);

  Piped attached(command({"attach", "-i", "sb-0", id}));
  read_until(attached.out(), "begun\n");
  write_bytes(attached.in(), "word\n");
  CHECK(read_until(attached.out(), "word\n") == "got word\n");
  CHECK(attached.code() == 4);
  CHECK(run({"attach", "--since", "6", "sb-0", id}).out == "got word\n");
  CHECK(run({"ps", "--json", "sb-0"}).out.find("\"exit_code\":4") != std::string::npos);

  const auto sleeper = run({"exec", "-d", "sb-0", "sleep", "60"}).out;
  const auto sleeper_id = sleeper.substr(0, sleeper.find('\n'));
  CHECK(run({"kill", "--signal", "SIGKILL", "sb-0", sleeper_id}).exit.exit_code == 0);
  CHECK(run({"attach", "sb-0", sleeper_id}).exit.exit_code == 137);
  const auto unknown = run({"kill", "sb-0", "pr-99"});
  CHECK(unknown.exit.exit_code == 1);
  CHECK(unknown.err.find("pr-99") != std::string::npos);
}

TEST_CASE_METHOD(ClientWithSandbox, "Ctrl-C in attach leaves the process running", "[client]") {
  const auto started = run({"exec", "-d", "sb-0", "--", "sh", "-c", "echo begun; sleep 60"}).out;
  const auto id = started.substr(0, started.find('\n'));
  Piped attached(command({"attach", "sb-0", id}));
  read_until(attached.out(), "begun\n");
  attached.signal(SIGINT);
  CHECK(attached.code() == 130);
  CHECK(run({"ps", "sb-0"}).out.find("running") != std::string::npos);
  CHECK(run({"kill", "sb-0", id}).exit.exit_code == 0);
}

TEST_CASE("attach goes on where its connection broke", "[client]") {
  ClientWithSandbox client({"STAND_IN_BREAK=1"});
  const auto started =
      client.run({"exec", "-d", "sb-0", "--", "sh", "-c", "for i in 1 2 3; do echo $i; sleep 0.1; done"});
  const auto id = started.out.substr(0, started.out.find('\n'));
  const auto attached = client.run({"attach", "sb-0", id});
  CHECK(attached.out == "1\n2\n3\n");
  CHECK(attached.exit.exit_code == 0);
  CHECK(client.requests().find("/output?since=4") != std::string::npos);
}

TEST_CASE_METHOD(Client, "run -d names the sandbox and the process, and leaves both", "[client]") {
  const auto started = run({"run", "-d", "x", "sleep", "60"});
  CHECK(started.out == "sb-0 pr-0\n");
  CHECK(started.err.find("nanobox attach sb-0 pr-0") != std::string::npos);
  CHECK(run({"ps", "sb-0"}).out.find("sleep 60") != std::string::npos);
  CHECK(run({"rm", "sb-0"}).exit.exit_code == 0);
}

TEST_CASE_METHOD(ClientWithSandbox, "a followed log goes on to its end, byte by byte", "[client]") {
  CHECK(run({"logs", "-f", "sb-0"}).out == "one\n\xfftwo\n");
}

TEST_CASE_METHOD(ClientWithSandbox, "options that exclude each other are refused with what to do", "[client]") {
  const auto refused = [&](std::vector<std::string> options) {
    options.insert(options.begin(), "exec");
    options.insert(options.end(), {"sb-0", "true"});
    const auto done = run(std::move(options));
    CHECK(done.exit.exit_code == 125);
    return done.err;
  };
  CHECK(refused({"-it"}).find("stdin is no terminal\n  use -i alone") != std::string::npos);
  CHECK(refused({"-td"}).find("leave out one of them") != std::string::npos);
  CHECK(refused({"-t", "--json"}).find("leave out one of them") != std::string::npos);
  CHECK(refused({"-t", "--timeout", "3"}).find("timeout SECONDS COMMAND") != std::string::npos);
  CHECK(run({"shell", "sb-0"}).err.find("stdin is no terminal") != std::string::npos);
}
