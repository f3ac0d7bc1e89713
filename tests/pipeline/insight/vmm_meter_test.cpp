#include "pipeline/insight/vmm_meter.hpp"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <fstream>

using namespace nanobox;

namespace fs = std::filesystem;

namespace {

/// A folder that looks like /proc: its processes take what a test says.
class FakeProc {
public:
  FakeProc() {
    std::string name = fs::temp_directory_path() / "nanobox-meter-XXXXXX";
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    folder_ = name;
  }
  ~FakeProc() { fs::remove_all(folder_); }
  FakeProc(const FakeProc&) = delete;
  FakeProc& operator=(const FakeProc&) = delete;

  const fs::path& folder() const { return folder_; }
  void runs(int pid, std::uint64_t started, double cpu_seconds, std::uint64_t pss_kib) {
    const auto process = folder_ / std::to_string(pid);
    fs::create_directory(process);
    const auto ticks = static_cast<std::uint64_t>(cpu_seconds * static_cast<double>(::sysconf(_SC_CLK_TCK)));
    std::ofstream(process / "stat") << pid << " (a (strange) name) S 1 1 1 0 -1 0 0 0 0 0 " << ticks
                                    << " 0 0 0 20 0 1 0 " << started << " 0 0";
    std::ofstream(process / "smaps_rollup")
        << "00400000-7fff000 ---p 00000000 00:00 0 [rollup]\nRss: 9 kB\nPss:   " << pss_kib << " kB\nPss_Dirty: 1 kB\n";
  }
  void ends(int pid) { fs::remove_all(folder_ / std::to_string(pid)); }

private:
  fs::path folder_;
};

MeteredVmm vmm(const std::string& id, int pid, const std::string& of = "web") {
  return {.vm_id = id, .pid = pid, .start_time_ticks = 7, .owner = "ann", .template_name = of};
}

SandboxDeath death(const std::string& id, std::int64_t cpu_ms) {
  SandboxDeath death;
  death.id = id;
  death.owner = "ann";
  death.template_name = "web";
  death.usage = SandboxUsage{.cpu_ms = cpu_ms};
  return death;
}

constexpr std::uint64_t kSecond = 1'000'000;

}  // namespace

TEST_CASE("what VMMs take is summed by template", "[insight]") {
  FakeProc proc;
  VmmMeter meter(std::chrono::seconds(1), proc.folder());
  meter.measure({});
  proc.runs(1, 7, 2, 100);
  proc.runs(2, 7, 3, 50);
  proc.runs(3, 7, 5, 10);
  const auto usage = meter.measure({vmm("sb-1", 1), vmm("sb-2", 2), vmm("sb-3", 3, "db")});
  REQUIRE(usage.size() == 2);
  CHECK(usage[0] == TemplateUsage{"ann", "db", 1, 10 << 10, 5 * kSecond});
  CHECK(usage[1] == TemplateUsage{"ann", "web", 2, 150 << 10, 5 * kSecond});
}

TEST_CASE("processor time of VMMs that ended stays in the sum", "[insight]") {
  FakeProc proc;
  VmmMeter meter(std::chrono::seconds(1), proc.folder());
  meter.measure({});
  proc.runs(1, 7, 2, 100);
  meter.measure({vmm("sb-1", 1)});
  proc.ends(1);

  SECTION("as it was last read") {
    CHECK(meter.measure({}).at(0) == TemplateUsage{"ann", "web", 0, 0, 2 * kSecond});
  }
  SECTION("as the sandbox' end tells it") {
    CHECK(meter.measure({}, {death("sb-1", 2'500)}).at(0).cpu_us == 2'500'000);
  }
  SECTION("also of one that nobody measured while it ran") {
    CHECK(meter.measure({}, {death("sb-9", 1'000)}).at(0).cpu_us == 3 * kSecond);
  }
  CHECK(meter.measure({}).size() == 1);
}

TEST_CASE("what a VMM took under an earlier daemon is not counted", "[insight]") {
  FakeProc proc;
  proc.runs(1, 7, 100, 10);
  VmmMeter meter(std::chrono::seconds(1), proc.folder());
  CHECK(meter.measure({vmm("sb-1", 1)}).at(0).cpu_us == 0);
  proc.runs(1, 7, 101, 10);
  CHECK(meter.measure({vmm("sb-1", 1)}).at(0).cpu_us == kSecond);
}

TEST_CASE("another process with the number of a VMM counts for nothing", "[insight]") {
  FakeProc proc;
  proc.runs(1, 8, 100, 10);
  VmmMeter meter(std::chrono::seconds(1), proc.folder());
  CHECK(meter.measure({vmm("sb-1", 1)}).empty());
}

TEST_CASE("memory is read of the VMM that was longest not read, while the budget lasts", "[insight]") {
  FakeProc proc;
  for (int pid : {1, 2, 3}) proc.runs(pid, 7, 1, 100);
  VmmMeter meter(std::chrono::microseconds(0), proc.folder());  // one a measurement
  const std::vector vmms = {vmm("sb-1", 1), vmm("sb-2", 2), vmm("sb-3", 3)};
  CHECK(meter.measure(vmms).at(0).pss_bytes == 100 << 10);
  CHECK(meter.measure(vmms).at(0).pss_bytes == 200 << 10);
  CHECK(meter.measure(vmms).at(0).pss_bytes == 300 << 10);
}

TEST_CASE("the templates with the fewest VMMs are summed up where there are too many", "[insight]") {
  std::vector<TemplateUsage> usage;
  for (std::uint64_t vms = 1; vms <= 5; ++vms) usage.push_back({"ann", "t" + std::to_string(vms), vms, 10, 100});
  const auto told = largest(usage, 3);
  REQUIRE(told.size() == 3);
  CHECK(told[0].template_name == "t5");
  CHECK(told[1].template_name == "t4");
  CHECK(told[2] == TemplateUsage{"", "other", 6, 30, 300});
  CHECK(largest(usage, 5) == usage);
}
