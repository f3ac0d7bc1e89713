#include <catch2/catch.hpp>
#include <csignal>

#include "tests/pipeline/boot/vmm/confine_fixture.hpp"

using namespace nanobox;
using namespace nanobox::test;
using namespace std::chrono_literals;

namespace {

using Clock = std::chrono::steady_clock;

/// "nr_throttled 12" of cpu.stat, wherever the cgroup has it.
long throttled(const Cgroup& cgroup) {
  std::istringstream folders{cgroup.to_string()};
  for (std::string folder; std::getline(folders, folder, ':');) {
    std::istringstream words{read_file(std::filesystem::path{folder} / "cpu.stat")};
    std::string name;
    for (long value = 0; words >> name >> value;)
      if (name == "nr_throttled") return value;
  }
  return 0;
}

}  // namespace

TEST_CASE_METHOD(ConfineFixture, "a VMM that takes more memory than its limit is killed, and it shows", "[confine]") {
  if (!host.report.cgroups.memory) return;
  auto wanted = spec("hog", {"touch", "256"});
  wanted.limits.cgroup.memory_bytes = 48U << 20;
  const auto process = spawn(wanted);
  REQUIRE(ends_within(process, 30s));
  const auto status = process.exit_status();
  CHECK(status.signal == SIGKILL);
  CHECK(status.oom_kills > 0);
}

TEST_CASE_METHOD(ConfineFixture, "memory within the limit is given", "[confine]") {
  auto wanted = spec("modest", {"touch", "24"});
  wanted.limits.cgroup.memory_bytes = 48U << 20;
  const auto process = spawn(wanted);
  REQUIRE(ends_within(process, 30s));
  CHECK(process.exit_status().exit_code == 0);
}

TEST_CASE_METHOD(ConfineFixture, "a fork bomb stops at its limit, and ends with its VM", "[confine]") {
  if (!host.report.cgroups.pids) return;
  TestPipe report;
  auto wanted = spec("forks", {"forks"});
  wanted.limits.cgroup.max_pids = 16;
  wanted.descriptors = {{.source = report.write.get(), .target = 3}};
  auto process = spawn(wanted);
  report.write.reset();
  CHECK(report.read_line() == "15");
  CHECK(process.cgroup().members().size() == 16);
  process.end();
  REQUIRE(ends_within(process, 10s));
  CHECK(process.remove_cgroup());
  CHECK(report.read_all().empty());  // nobody is left to hold the other end
}

TEST_CASE_METHOD(ConfineFixture, "a VMM gets its share of a core and no more", "[confine]") {
  if (!host.report.cgroups.cpu) return;
  auto wanted = spec("spins", {"spin", "200"});
  wanted.limits.cgroup.cpu_percent = 20;
  const auto start = Clock::now();
  const auto process = spawn(wanted);
  REQUIRE(ends_within(process, 60s));
  const auto wall = Clock::now() - start;
  CHECK(process.exit_status().exit_code == 0);
  CHECK(throttled(process.cgroup()) > 0);
  CHECK(200.0 / static_cast<double>(wall / 1ms) < 0.32);  // CPU time to time
}

TEST_CASE_METHOD(ConfineFixture, "a VMM opens no more files than it may", "[confine]") {
  TestPipe report;
  auto wanted = spec("opens", {"open"});
  wanted.limits.max_files = 32;
  wanted.descriptors = {{.source = report.write.get(), .target = 3}};
  const auto process = spawn(wanted);
  CHECK(report.read_all() == "28\n");
}

TEST_CASE_METHOD(ConfineFixture, "a VMM writes no file larger than it may", "[confine]") {
  auto wanted = spec("fills", {"fill", "4194304", "/work/file"});
  wanted.limits.max_file_bytes = 1U << 20;
  const auto process = spawn(wanted);
  REQUIRE(ends_within(process, 10s));
  CHECK(process.exit_status().exit_code != 0);
  CHECK(std::filesystem::file_size(folder / "work/fills/file") == 1U << 20);
}

TEST_CASE_METHOD(ConfineFixture, "without cgroups, resource limits hold memory and processes", "[confine]") {
  host.cgroups = CgroupHome::without("for this test");
  auto hog = spec("rlimit-hog", {"touch", "1024"});
  hog.limits.cgroup.memory_bytes = 32U << 20;
  const auto first = spawn(hog);
  REQUIRE(ends_within(first, 30s));
  CHECK(first.exit_status().exit_code == 3);

  TestPipe report;
  auto forks = spec("rlimit-forks", {"forks"});
  forks.limits.cgroup.max_pids = 16;
  forks.descriptors = {{.source = report.write.get(), .target = 3}};
  auto second = spawn(forks);
  report.write.reset();
  CHECK(report.read_line() == "15");
  second.end();
  REQUIRE(ends_within(second, 10s));
  CHECK(report.read_all().empty());
}
