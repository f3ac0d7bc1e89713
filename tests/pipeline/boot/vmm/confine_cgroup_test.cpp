#include <linux/sched.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <csignal>
#include <cstdlib>

#include "config/child_process.hpp"
#include "pipeline/boot/vmm/cgroup.hpp"
#include "pipeline/boot/vmm/cgroup_mounts.hpp"
#include "tests/pipeline/boot/vmm/confine_fixture.hpp"

using namespace nanobox;
using namespace nanobox::test;
using namespace std::chrono_literals;

namespace {

/// A mark that no other test process has.
std::string own_data_folder() {
  return "/tmp/nanobox-cgroup-test-" + std::to_string(::getpid());
}

}  // namespace

TEST_CASE("cgroup mounts are read from mountinfo, escapes and all", "[cgroup]") {
  const auto mounts = cgroup_mounts(
      "30 24 0:26 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n"
      "31 24 0:27 /docker/abc /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
      "32 24 0:28 / /mnt/with\\040space rw - cgroup2 cgroup2 rw,nsdelegate\n"
      "33 24 0:29 / /proc rw - proc proc rw\n"
      "broken line\n\n- - -\n34 24 - cgroup\n");
  REQUIRE(mounts.size() == 3);
  CHECK(mounts[0].mount_point == "/sys/fs/cgroup/memory");
  CHECK(mounts[1].root == "/docker/abc");
  CHECK(mounts[1].controllers == std::vector<std::string>{"rw", "cpu", "cpuacct"});
  CHECK(mounts[2].v2);
  CHECK(mounts[2].mount_point == "/mnt/with space");
}

TEST_CASE("a process' own cgroup is found below what is mounted", "[cgroup]") {
  const CgroupMount cpu{.v2 = false, .controllers = {"rw", "cpu"}, .root = "/docker/abc", .mount_point = "/cg/cpu"};
  const CgroupMount unified{.v2 = true, .controllers = {}, .root = "/", .mount_point = "/cg"};
  const std::string own = "4:cpu,cpuacct:/docker/abc/inner\n1:name=systemd:/x\n0::/system.slice/nanoboxd.service\n";
  CHECK(own_cgroup(cpu, own) == "/cg/cpu/inner");
  CHECK(own_cgroup(unified, own) == "/cg/system.slice/nanoboxd.service");
  CHECK(own_cgroup(unified, "0::/\n") == "/cg");
  CHECK_FALSE(own_cgroup(cpu, "4:cpu:/elsewhere\n"));
  CHECK_FALSE(own_cgroup(cpu, ""));
}

TEST_CASE("a cgroup is found again by its name, and only one of ours", "[cgroup]") {
  const auto cgroup =
      Cgroup::from_string("v1:/sys/fs/cgroup/memory/nanobox-12/sb-1:/sys/fs/cgroup/pids/nanobox-12/sb-1");
  REQUIRE(cgroup);
  CHECK(cgroup->version() == CgroupVersion::v1);
  CHECK(cgroup->to_string() == "v1:/sys/fs/cgroup/memory/nanobox-12/sb-1:/sys/fs/cgroup/pids/nanobox-12/sb-1");
  CHECK(Cgroup::from_string("")->version() == CgroupVersion::none);
  for (const char* text : {"v1:", "v3:/x", "v1:/sys/fs/cgroup/memory/user.slice", "v2:/nanobox-1/../x",
                           "v1:nanobox-1/x", "v1:/sys/fs/cgroup/nanobox-1", "v1:/sys/nanobox-1/a:/etc"}) {
    INFO(text);
    const auto wrong = Cgroup::from_string(text);
    REQUIRE_FALSE(wrong);
    CHECK(wrong.error().code == ErrorCode::invalid_value);
  }
}

TEST_CASE("without cgroups everything is said to be missing, and nothing fails", "[cgroup]") {
  const auto home = CgroupHome::without("the reason");
  CHECK(home.support().version == CgroupVersion::none);
  CHECK(home.support().reasons == std::vector<std::string>{"the reason"});
  const auto cgroup = home.create("sb-1", {.memory_bytes = 1, .cpu_percent = 1, .max_pids = 1});
  REQUIRE(cgroup);
  CHECK(cgroup->members().empty());
  CHECK(cgroup->kill_all());
  CHECK(cgroup->remove());
  CHECK(home.remove_leftovers({}).value() == 0);
}

TEST_CASE("a cgroup ends with its members", "[cgroup]") {
  const auto home = CgroupHome::detect(own_data_folder());
  if (home.support().version != CgroupVersion::v1) return;
  const auto cgroup = home.create("members", {.memory_bytes = 0, .cpu_percent = 0, .max_pids = 8});
  REQUIRE(cgroup);
  auto child = ChildProcess::spawn(
      {.program = "sh", .arguments = {"-c", "sleep 1000 & sleep 1000"}, .env = {}, .descriptors = {}});
  REQUIRE(child);
  const auto entrances = cgroup->open_entrances();
  REQUIRE(entrances);
  const auto pid = std::to_string(child->pid());
  for (const auto& file : *entrances) REQUIRE(::write(file.get(), pid.data(), pid.size()) > 0);
  CHECK_FALSE(cgroup->members().empty());
  CHECK(cgroup->remove());
  CHECK(cgroup->members().empty());
  CHECK(child->wait(10s));
  CHECK(cgroup->remove());
}

TEST_CASE("a limit that cannot be is refused, and leaves no cgroup", "[cgroup]") {
  const auto home = CgroupHome::detect(own_data_folder());
  if (!home.support().pids) return;
  const auto cgroup = home.create("refused", {.memory_bytes = 0, .cpu_percent = 0, .max_pids = 4'000'000'000});
  REQUIRE_FALSE(cgroup);
  CHECK(cgroup.error().code == ErrorCode::host_unsuitable);
  CHECK(home.remove_leftovers({}).value() == 0);
  CHECK_FALSE(home.create("../escape", {}));
  CHECK_FALSE(home.create("", {}));
}

TEST_CASE("a v2 cgroup is entered by clone and ended by cgroup.kill, even where it has no controllers", "[cgroup]") {
  const auto mounts = cgroup_mounts(read_file("/proc/self/mountinfo"));
  const auto unified = std::find_if(mounts.begin(), mounts.end(), [](const CgroupMount& mount) { return mount.v2; });
  if (unified == mounts.end()) return;
  const auto base = own_cgroup(*unified, read_file("/proc/self/cgroup"));
  const auto folder = base.value_or("/nowhere") / ("nanobox-test-" + std::to_string(::getpid())) / "member";
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) return;
  const auto cgroup = Cgroup::from_string("v2:" + folder.string());
  REQUIRE(cgroup);
  const auto entrances = cgroup->open_entrances();
  REQUIRE(entrances);
  REQUIRE(entrances->size() == 1);

  clone_args arguments{};
  arguments.flags = CLONE_INTO_CGROUP;
  arguments.exit_signal = SIGCHLD;
  arguments.cgroup = static_cast<std::uint64_t>(entrances->front().get());
  const auto pid = static_cast<pid_t>(::syscall(SYS_clone3, &arguments, sizeof arguments));
  if (pid == 0)
    for (;;) ::pause();
  REQUIRE(pid > 0);
  CHECK(cgroup->members() == std::vector<int>{pid});
  CHECK(cgroup->remove());
  CHECK_FALSE(std::filesystem::exists(folder.parent_path()));
  int status = 0;
  CHECK(::waitpid(pid, &status, 0) == pid);
  CHECK(WTERMSIG(status) == SIGKILL);
}

TEST_CASE("VMs go below the v2 cgroup that NANOBOX_CGROUP names, where it has controllers", "[cgroup]") {
  const auto mounts = cgroup_mounts(read_file("/proc/self/mountinfo"));
  const auto unified = std::find_if(mounts.begin(), mounts.end(), [](const CgroupMount& mount) { return mount.v2; });
  if (unified == mounts.end()) return;
  const auto name = "nanobox-test-kept-" + std::to_string(::getpid());
  const auto folder = unified->mount_point / name;
  std::error_code error;
  if (!std::filesystem::create_directory(folder, error)) return;
  ::setenv("NANOBOX_CGROUP", (std::filesystem::path(unified->root) / name).c_str(), 1);
  const auto home = CgroupHome::detect(own_data_folder());
  ::unsetenv("NANOBOX_CGROUP");
  if (home.support().version == CgroupVersion::v2) {
    const auto cgroup = home.create("kept", {.memory_bytes = 1U << 20, .cpu_percent = 0, .max_pids = 8});
    REQUIRE(cgroup);
    CHECK(cgroup->to_string().starts_with("v2:" + folder.string() + "/nanobox-"));
    CHECK(cgroup->remove());
    std::filesystem::remove(folder / "nanobox-daemon", error);
  } else {
    CHECK(home.support().reasons.front() == "cgroup v2 has no memory controller in " + folder.string());
  }
  CHECK(std::filesystem::remove(folder, error));
}
