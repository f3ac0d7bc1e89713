#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <csignal>

#include "config/child_process.hpp"
#include "tests/pipeline/boot/vmm/confine_fixture.hpp"

using namespace nanobox;
using namespace nanobox::test;
using namespace std::chrono_literals;

namespace {

Command shell(const std::string& script) {
  return {.program = "sh", .arguments = {"-c", script}, .env = {}, .descriptors = {}};
}

}  // namespace

TEST_CASE("a child's output and exit code are collected", "[child]") {
  const auto output = run_command(shell("echo out; echo err >&2; exit 3"), 10s);
  REQUIRE(output);
  CHECK(output->out == "out\n");
  CHECK(output->err == "err\n");
  CHECK(output->exit.exit_code == 3);
  CHECK_FALSE(output->exit.succeeded());
}

TEST_CASE("more output than wanted is dropped, and does not block the child", "[child]") {
  const auto output = run_command(shell("head -c 1000000 /dev/zero"), 10s, 1000);
  REQUIRE(output);
  CHECK(output->out.size() == 1000);
  CHECK(output->exit.succeeded());
}

TEST_CASE("a program that is not there is named", "[child]") {
  const auto child =
      ChildProcess::spawn({.program = "/no/such/program", .arguments = {}, .env = {}, .descriptors = {}});
  REQUIRE_FALSE(child);
  CHECK(child.error().code == ErrorCode::file_unreadable);
  CHECK(child.error().subject == "/no/such/program");
}

TEST_CASE("a child past its deadline is killed with its holder", "[child]") {
  const auto output = run_command(shell("exec sleep 1000"), 100ms);
  REQUIRE_FALSE(output);
  CHECK(output.error().code == ErrorCode::deadline_exceeded);
}

TEST_CASE("the destructor kills and reaps", "[child]") {
  pid_t pid = 0;
  {
    const auto child = ChildProcess::spawn(shell("exec sleep 1000"));
    REQUIRE(child);
    pid = child->pid();
  }
  CHECK(::kill(pid, 0) != 0);
}

TEST_CASE("a child's end is an event on its pidfd", "[child]") {
  auto child = ChildProcess::spawn(shell("exec sleep 1000"));
  REQUIRE(child);
  CHECK_FALSE(child->wait(0ms));
  child->signal(SIGTERM);
  pollfd ended{.fd = child->pidfd().get(), .events = POLLIN, .revents = 0};
  CHECK(::poll(&ended, 1, 10'000) == 1);
  CHECK(child->wait(0ms)->signal == SIGTERM);
  CHECK(child->wait(0ms)->signal == SIGTERM);
  child->signal(SIGTERM);
}

TEST_CASE("a child has the descriptors it was given and no other, also where their numbers cross", "[child]") {
  TestPipe one, two;
  const UniqueFd leaked{::open("/etc/passwd", O_RDONLY)};
  Command command = shell("ls /proc/self/fd | tr '\\n' ' '; readlink /proc/self/fd/5 /proc/self/fd/4");
  const int low = ::dup3(one.write.get(), 40, O_CLOEXEC);
  const UniqueFd crossing{low};
  const UniqueFd crossed{::dup3(two.write.get(), 41, O_CLOEXEC)};
  command.descriptors = {{.source = 40, .target = 41}, {.source = 41, .target = 40}};
  command.arguments[1] = "ls /proc/self/fd | tr '\\n' ' '; readlink /proc/self/fd/40 /proc/self/fd/41";
  const auto output = run_command(command, 10s);
  REQUIRE(output);
  const auto name = [](const UniqueFd& fd) {
    return std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(fd.get())).string();
  };
  // ls has one more, the folder it reads
  CHECK(output->out == "0 1 2 3 40 41 " + name(two.write) + "\n" + name(one.write) + "\n");
}

TEST_CASE("a child gets the environment it was given", "[child]") {
  auto command = shell("echo $ONLY$HOME");
  command.program = "/bin/sh";
  command.env = std::vector<std::string>{"ONLY=this"};
  CHECK(run_command(command, 10s)->out == "this\n");
}
