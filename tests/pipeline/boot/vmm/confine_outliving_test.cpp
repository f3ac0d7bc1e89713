#include <sys/syscall.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <csignal>

#include "config/child_process.hpp"
#include "tests/pipeline/boot/vmm/confine_fixture.hpp"

using namespace nanobox;
using namespace nanobox::test;
using namespace std::chrono_literals;
namespace fs = std::filesystem;

namespace {

/// A daemon in a process of its own that started one VMM.
struct TestDaemon {
  TestDaemon(ConfineFixture& fixture, uid_t user) {
    run_dir = fixture.folder / "run" / "daemons";
    fs::create_directories(run_dir);
    if (user != 0) REQUIRE(::chown(run_dir.c_str(), user, user) == 0);
    const auto program = fixture.folder / "confine_daemon";
    fs::copy_file(NANOBOX_TEST_DAEMON, program);
    auto child = ChildProcess::spawn({.program = program,
                                      .arguments = {fixture.folder, run_dir, fixture.folder / "nanobox-vm-parent",
                                                    fixture.folder / "confine_stand_in", std::to_string(user)},
                                      .env = {},
                                      .descriptors = {{.source = output.write.get(), .target = 1}}});
    REQUIRE(child);
    process.emplace(std::move(*child));
    output.write.reset();
    answer = output.read_line();
    if (const auto recorded = recorded_identity(run_dir)) fixture.remember(*recorded);
  }
  void kill() {
    process->signal(SIGKILL);
    REQUIRE(process->wait(10s));
  }

  fs::path run_dir;
  TestPipe output;
  std::optional<ChildProcess> process;
  std::string answer;
};

void kill_exactly(const ProcIdentity& identity) {
  const auto pidfd = open_process(identity);
  REQUIRE(pidfd);
  REQUIRE(::syscall(SYS_pidfd_send_signal, pidfd->get(), SIGKILL, nullptr, 0) == 0);
}

}  // namespace

TEST_CASE_METHOD(ConfineFixture, "a VMM lives on when its daemon is killed, and another daemon takes it over",
                 "[confine]") {
  TestDaemon daemon{*this, 0};
  REQUIRE(daemon.answer.starts_with("started full"));
  daemon.kill();

  const auto identity = recorded_identity(daemon.run_dir);
  REQUIRE(identity);
  auto process = VmProcess::adopt(*identity);
  REQUIRE(process);
  CHECK_FALSE(process->has_ended());
  CHECK(process->cgroup().members() == std::vector<int>{process->pid()});
  process->end();
  REQUIRE(ends_within(*process, 10s));
  CHECK(process->exit_status().signal == SIGKILL);
  CHECK(process->remove_cgroup());
}

TEST_CASE_METHOD(ConfineFixture, "a VMM nobody takes over is found by its mark and removed", "[confine]") {
  TestDaemon daemon{*this, 0};
  REQUIRE(daemon.answer.starts_with("started"));
  const auto kept = spawn(spec("kept", {"wait"}));
  daemon.kill();
  if (host.report.cgroups.version == CgroupVersion::none) return;
  const Cgroup keep[] = {kept.cgroup()};
  const auto removed = host.cgroups.remove_leftovers(keep);
  REQUIRE(removed);
  CHECK(*removed == 1);
  CHECK_FALSE(open_process(recorded_identity(daemon.run_dir)->vmm));
  CHECK_FALSE(kept.has_ended());
}

TEST_CASE_METHOD(ConfineFixture, "letting go of a VmProcess does not end the VMM", "[confine]") {
  VmProcessIdentity identity;
  {
    const auto process = spawn(spec("let-go", {"wait"}));
    identity = process.identity();
  }
  const auto again = VmProcess::adopt(identity);
  REQUIRE(again);
  CHECK_FALSE(again->has_ended());
}

TEST_CASE_METHOD(ConfineFixture, "a VMM whose tiny parent was killed lives on and can still be ended", "[confine]") {
  auto process = spawn(spec("orphan", {"say-wait", "100"}));
  kill_exactly(process.identity().parent);
  CHECK_FALSE(ends_within(process, 100ms));

  auto adopted = VmProcess::adopt(process.identity());
  REQUIRE(adopted);
  adopted->end();
  REQUIRE(ends_within(process, 10s));
  const auto status = adopted->exit_status(100ms);
  CHECK_FALSE(status.exit_code);  // nobody was there to see it
  CHECK_FALSE(status.signal);
}

TEST_CASE_METHOD(ConfineFixture, "another process with the same number is not adopted", "[confine]") {
  const auto process = spawn(spec("number", {"wait"}));
  auto identity = process.identity();
  identity.vmm.start_time_ticks += 1;
  auto adopted = VmProcess::adopt(identity);
  REQUIRE_FALSE(adopted);
  CHECK(adopted.error().code == ErrorCode::guest_gone);

  identity = process.identity();
  identity.vmm.boot_id = "00000000-0000-0000-0000-000000000000";
  adopted = VmProcess::adopt(identity);
  REQUIRE_FALSE(adopted);
  CHECK(adopted.error().code == ErrorCode::guest_gone);
}

TEST_CASE_METHOD(ConfineFixture, "a VMM that has ended is not adopted, and tells how it ended", "[confine]") {
  const auto process = spawn(spec("ended", {"exit", "5"}));
  REQUIRE(ends_within(process, 10s));
  process.exit_status();
  CHECK_FALSE(VmProcess::adopt(process.identity()));
  CHECK(recorded_exit(process.identity().run_dir)->exit_code == 5);
}

TEST_CASE_METHOD(ConfineFixture, "a daemon that is not root confines with a user namespace and says what is missing",
                 "[confine]") {
  if (::geteuid() != 0) return;
  TestDaemon daemon{*this, 65'534};
  const auto identity = recorded_identity(daemon.run_dir);
  INFO(daemon.answer);
  REQUIRE(daemon.answer.starts_with("started"));
  CHECK(daemon.answer.find("[own uid]") != std::string::npos);
  REQUIRE(identity);
  const auto pid = identity->vmm.pid;
  CHECK(status_field(pid, "CapEff") == "0000000000000000");
  CHECK(status_field(pid, "NoNewPrivs") == "1");
  CHECK(status_field(pid, "Seccomp") == "2");
  if (daemon.answer.starts_with("started user_namespace")) {
    CHECK(status_field(pid, "CapBnd") == "0000000000000000");
    const auto proc = fs::path{"/proc"} / std::to_string(pid);
    for (const char* name : {"ns/mnt", "ns/pid", "ns/net", "ns/ipc", "ns/uts", "ns/user"})
      CHECK(fs::read_symlink(proc / name) != fs::read_symlink(fs::path{"/proc/self"} / name));
    CHECK_FALSE(fs::exists(proc / "root/etc"));
    CHECK(fs::exists(proc / "root" / (folder / "confine_stand_in").relative_path()));
  }
}
