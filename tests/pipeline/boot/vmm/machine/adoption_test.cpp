#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <csignal>

#include "tests/pipeline/boot/vmm/machine/lab.hpp"

using namespace nanobox;
using namespace nanobox::test;

namespace {

/// Starts a VM by a daemon of its own, which is then killed.
VmIdentity started_by_a_killed_daemon(const fs::path& data, const std::string& id) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("pipe2");
  const UniqueFd reading(ends[0]);
  UniqueFd writing(ends[1]);
  auto daemon = must(ChildProcess::spawn(
      {.program = VMM_TEST_DAEMON,
       .arguments = {data, id},
       .env = {},
       .descriptors = {{.source = writing.get(), .target = 1}, {.source = STDERR_FILENO, .target = 2}}}));
  writing.reset();
  std::string line;
  for (char c = 0; read(reading.get(), &c, 1) == 1 && c != '\n';) line += c;
  daemon.signal(SIGKILL);
  must(daemon.wait(10s));
  return must(vm_identity_from_json(line));
}

}  // namespace

TEST_CASE("a VM outlives its daemon's SIGKILL and answers the next one", "[qemu]") {
  NANOBOX_NEEDS_KERNEL();
  const Folder folder;
  Lab lab(folder.path());
  const auto identity = started_by_a_killed_daemon(folder.path(), "sb-orphan");
  REQUIRE(process_lives(identity));

  const auto driver = lab.driver();
  Log log;
  auto vm = must(driver->adopt(identity, log.events()));
  say(*vm, "echo still here");
  CHECK(log.wait_text("still here"));
  say(*vm, "panic");
  const auto exit = log.wait_exit();
  REQUIRE(exit);
  CHECK(exit->guest_panicked);
  CHECK(exit->exit_code == 0);
  CHECK_FALSE(process_lives(identity));
}

TEST_CASE("what has ended, or is another, is not adopted", "[qemu]") {
  NANOBOX_NEEDS_KERNEL();
  const Folder folder;
  Lab lab(folder.path());
  const auto driver = lab.driver();
  Log log;
  auto vm = must(driver->start(lab.spec("sb-ends"), log.events()));
  const auto identity = vm->identity();
  vm.reset();
  const auto refused = [&](const VmIdentity& who) {
    const auto adopted = driver->adopt(who, {});
    return !adopted && adopted.error().code == ErrorCode::guest_gone;
  };
  auto other = identity;
  other.uuid = "00000000-0000-4000-8000-000000000000";
  CHECK(refused(other));
  other = identity;
  other.start_time_ticks += 1;
  CHECK(refused(other));
  other = identity;
  other.boot_id = "another boot";
  CHECK(refused(other));

  vm = must(driver->adopt(identity, log.events()));
  vm->end();
  REQUIRE(log.wait_exit());
  CHECK(refused(identity));
}
