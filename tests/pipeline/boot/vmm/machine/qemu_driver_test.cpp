#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <sstream>

#include "tests/pipeline/boot/vmm/machine/lab.hpp"

using namespace nanobox;
using namespace nanobox::test;

namespace {

std::string text_of(const fs::path& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return std::move(text).str();
}

}  // namespace

TEST_CASE("a guest boots, answers on its channel, and leaves nothing when it is ended", "[qemu]") {
  NANOBOX_NEEDS_KERNEL();
  const Folder folder;
  Lab lab(folder.path());
  const auto driver = lab.driver();
  Log log;
  auto vm = must(driver->start(lab.spec("sb-one"), log.events()));
  INFO(vm->console_tail(4096));
  REQUIRE(log.wait_ready());
  say(*vm, "echo hello");
  CHECK(log.wait_text("hello\n"));
  CHECK(vm->console_tail(4096).find("NANOBOX_READY") != std::string::npos);

  const auto identity = vm->identity();
  CHECK(process_lives(identity));
  vm->end();
  vm->end();
  const auto exit = log.wait_exit();
  REQUIRE(exit);
  CHECK(exit->reason == "it was ended");
  CHECK_FALSE(exit->guest_panicked);
  CHECK_FALSE(process_lives(identity));
  CHECK_FALSE(process_lives(identity.parent_pid));
  const auto cgroup = must(Cgroup::from_string(identity.cgroup));
  CHECK(cgroup.members().empty());
}

TEST_CASE("the guest's memory is private to its VMM and the file stays empty", "[qemu]") {
  NANOBOX_NEEDS_KERNEL();
  const Folder folder;
  Lab lab(folder.path());
  const auto driver = lab.driver();
  Log log;
  const auto spec = lab.spec("sb-memory");
  auto vm = must(driver->start(spec, log.events()));
  REQUIRE(log.wait_ready());
  say(*vm, "dirty 16");
  CHECK(log.wait_text("dirtied"));
  struct stat file {};
  REQUIRE(stat(spec.memory_file.c_str(), &file) == 0);
  CHECK(file.st_blocks == 0);
  CHECK(text_of("/proc/" + std::to_string(vm->identity().pid) + "/maps").find("rw-s") == std::string::npos);
  vm->end();
  CHECK(log.wait_exit());
}

TEST_CASE("a cold booted VM notes the same as one that was prepared", "[qemu]") {
  NANOBOX_NEEDS_KERNEL();
  const Folder folder;
  Lab lab(folder.path());
  const auto driver = lab.driver();
  const auto spec = lab.spec("sb-cold"), other = lab.spec("st-empty", 70'002);
  const auto empty = must(driver->prepare({.id = "st-empty",
                                           .vcpu = other.vcpu,
                                           .memory_mb = other.memory_mb,
                                           .memory_file = other.memory_file,
                                           .run_dir = other.run_dir,
                                           .uid = other.uid}));
  Log log;
  auto vm = must(driver->start(spec, log.events()));
  CHECK(vm->identity().cgroup.empty() == empty->identity().cgroup.empty());
  CHECK(vm->identity().run_dir == spec.run_dir);
  CHECK(vm->identity().parent_pid > 0);
  vm->end();
  CHECK(log.wait_exit());
}

TEST_CASE("what one guest writes, another on the same template does not see", "[qemu]") {
  NANOBOX_NEEDS_KERNEL();
  const Folder folder;
  Lab lab(folder.path());
  const auto driver = lab.driver();
  const auto before = text_of(lab.base());
  Log first_log, second_log;
  auto first = must(driver->start(lab.spec("sb-first", 70'001), first_log.events()));
  auto second = must(driver->start(lab.spec("sb-second", 70'002), second_log.events()));
  REQUIRE(first_log.wait_ready());
  REQUIRE(second_log.wait_ready());
  say(*first, "write mine");
  REQUIRE(first_log.wait_text("written"));
  say(*first, "read");
  CHECK(first_log.wait_text("mine"));
  say(*second, "read");
  CHECK(second_log.wait_text("nothing"));
  first->end();
  second->end();
  CHECK(first_log.wait_exit());
  CHECK(second_log.wait_exit());
  CHECK(text_of(lab.base()) == before);
}

TEST_CASE("a guest that floods is read only as far as the reader digests", "[qemu]") {
  NANOBOX_NEEDS_KERNEL();
  const Folder folder;
  Lab lab(folder.path());
  const auto driver = lab.driver();
  Log log;
  auto vm = must(driver->start(lab.spec("sb-flood"), log.events()));
  REQUIRE(log.wait_ready());
  constexpr std::size_t window = std::size_t{1} << 20;
  say(*vm, "flood 4194304");
  REQUIRE(log.wait_bytes(window));
  CHECK_FALSE(log.wait_bytes(window + 1, 300ms));
  vm->grant_channel(window);
  REQUIRE(log.wait_bytes(2 * window));
  CHECK_FALSE(log.wait_bytes(2 * window + 1, 300ms));
  vm->grant_channel(4 * window);
  CHECK(log.wait_bytes(4 * window));
  vm->grant_channel(4 * window);

  // The other way: more than the mark, while the guest does not read.
  bool below = true;
  std::size_t sent = 0;
  for (; below && sent < 64 * window; sent += 65536) below = vm->send_channel(std::vector<std::byte>(65536));
  CHECK_FALSE(below);
  vm->end();
  CHECK(log.wait_exit());
  CHECK_FALSE(vm->send_channel(std::vector<std::byte>(1)));
}

TEST_CASE("a guest that reboots ends its VM as its own wish", "[qemu]") {
  NANOBOX_NEEDS_KERNEL();
  const Folder folder;
  Lab lab(folder.path());
  const auto driver = lab.driver();
  Log log;
  auto vm = must(driver->start(lab.spec("sb-reboot"), log.events()));
  REQUIRE(log.wait_ready());
  say(*vm, "reboot");
  const auto exit = log.wait_exit();
  REQUIRE(exit);
  CHECK(exit->guest_rebooted);
  CHECK(exit->exit_code == 0);
  CHECK(exit->reason == "the guest shut down");
}

TEST_CASE("two vCPUs boot as well", "[qemu]") {
  NANOBOX_NEEDS_KERNEL();
  const Folder folder;
  Lab lab(folder.path());
  const auto driver = lab.driver();
  Log log;
  auto spec = lab.spec("sb-two");
  spec.vcpu = 2;
  auto vm = must(driver->start(spec, log.events()));
  CHECK(log.wait_ready());
  vm->end();
  CHECK(log.wait_exit());
}

TEST_CASE("letting go of a VM leaves it running and tells nothing more", "[qemu]") {
  NANOBOX_NEEDS_KERNEL();
  const Folder folder;
  Lab lab(folder.path());
  const auto driver = lab.driver();
  Log log;
  auto vm = must(driver->start(lab.spec("sb-let-go"), log.events()));
  const auto identity = vm->identity();
  vm.reset();
  const int seen = log.seen();
  CHECK(process_lives(identity));

  Log second_log;
  vm = must(driver->adopt(identity, second_log.events()));
  vm->end();
  const auto exit = second_log.wait_exit();
  REQUIRE(exit);
  CHECK(exit->signal == 9);
  CHECK(log.seen() == seen);
}

TEST_CASE("a VM may be destroyed within its own callback", "[qemu]") {
  NANOBOX_NEEDS_KERNEL();
  const Folder folder;
  Lab lab(folder.path());
  const auto driver = lab.driver();
  std::mutex mutex;
  std::condition_variable changed;
  std::unique_ptr<Vm> vm;
  bool gone = false;
  VmEvents events;
  events.on_exit = [&](const VmExit&) {
    const std::lock_guard lock(mutex);
    vm.reset();
    gone = true;
    changed.notify_all();
  };
  auto started = must(driver->start(lab.spec("sb-callback"), events));
  std::unique_lock lock(mutex);
  vm = std::move(started);
  vm->end();
  CHECK(changed.wait_for(lock, 30s, [&] { return gone; }));
}
