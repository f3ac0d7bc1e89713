#include <fcntl.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <set>

#include "tests/pipeline/boot/vmm/confine_fixture.hpp"

using namespace nanobox;
using namespace nanobox::test;
using namespace std::chrono_literals;

TEST_CASE_METHOD(ConfineFixture, "the tiny parent keeps a VMM's exit code", "[confine]") {
  auto process = spawn(spec("exits", {"exit", "7"}));
  REQUIRE(ends_within(process, 10s));
  const auto status = process.exit_status();
  CHECK(status.exit_code == 7);
  CHECK_FALSE(status.signal);
  CHECK(process.has_ended());
}

TEST_CASE_METHOD(ConfineFixture, "end() kills a VMM, and the signal is kept", "[confine]") {
  auto process = spawn(spec("ends", {"wait"}));
  CHECK_FALSE(process.has_ended());
  process.end();
  REQUIRE(ends_within(process, 10s));
  CHECK(process.exit_status().signal == SIGKILL);
  process.end();
  CHECK(process.remove_cgroup());
  CHECK(process.remove_cgroup());
}

TEST_CASE_METHOD(ConfineFixture, "a crash is told from an exit", "[confine]") {
  auto process = spawn(spec("crashes", {"crash"}));
  REQUIRE(ends_within(process, 10s));
  CHECK(process.exit_status().signal);
}

TEST_CASE_METHOD(ConfineFixture, "what a VMM says is kept from its first and its last words, within a bound",
                 "[confine]") {
  auto process = spawn(spec("talks", {"say", "500000"}));
  REQUIRE(ends_within(process, 20s));
  CHECK(process.exit_status().exit_code == 0);
  const auto words = process.output();
  CHECK(words.starts_with("000000000\n000000001\n"));
  CHECK(words.ends_with("\n000049999\n"));
  CHECK(words.find("bytes not kept") != std::string::npos);
  CHECK(words.size() < 40'000);
}

TEST_CASE_METHOD(ConfineFixture, "short words are kept whole", "[confine]") {
  auto process = spawn(spec("mutters", {"say", "20000"}));
  REQUIRE(ends_within(process, 10s));
  process.exit_status();
  CHECK(process.output().size() == 20'000);
  CHECK(process.output().find("not kept") == std::string::npos);
}

TEST_CASE_METHOD(ConfineFixture, "a VMM starts with the descriptors it was given, under their numbers, and no other",
                 "[confine]") {
  TestPipe report, other;
  const UniqueFd leaked{::open("/etc/passwd", O_RDONLY)};  // not O_CLOEXEC, as a careless library's would be
  auto wanted = spec("descriptors", {"wait"});
  wanted.descriptors = {{.source = report.write.get(), .target = 9},
                        {.source = other.write.get(), .target = 3},
                        {.source = report.read.get(), .target = 4}};
  auto process = spawn(wanted);
  std::set<std::string> numbers;
  for (const auto& entry : std::filesystem::directory_iterator{"/proc/" + std::to_string(process.pid()) + "/fd"})
    numbers.insert(entry.path().filename().string());
  CHECK(numbers == std::set<std::string>{"0", "1", "2", "3", "4", "9"});
  const auto link = [&](const char* number) {
    return std::filesystem::read_symlink("/proc/" + std::to_string(process.pid()) + "/fd/" + number);
  };
  CHECK(link("9") == std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(report.write.get())));
  CHECK(link("3") == std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(other.write.get())));
  CHECK(link("0") == "/dev/null");
  CHECK(link("1").string().starts_with("pipe:"));
}

TEST_CASE_METHOD(ConfineFixture, "the parent holds nothing of the daemon's, nor of what it passed on", "[confine]") {
  TestPipe report;
  auto wanted = spec("handed-on", {"wait"});
  wanted.descriptors = {{.source = report.write.get(), .target = 3}};
  auto process = spawn(wanted);
  process.end();
  CHECK(report.read_all().empty());  // ends only when nobody else holds the other end
}

TEST_CASE_METHOD(ConfineFixture, "spawning leaks no descriptor in the daemon", "[confine]") {
  const auto open_now = [] {
    return std::distance(std::filesystem::directory_iterator{"/proc/self/fd"}, std::filesystem::directory_iterator{});
  };
  (void)VmProcess::spawn(host, spec("warms-up", {"exit", "0"}));
  remember(*recorded_identity(folder / "run" / "warms-up"));
  const auto before = open_now();
  for (int i = 0; i < 5; ++i) {
    auto process = spawn(spec("round-" + std::to_string(i), {"exit", "0"}));
    REQUIRE(ends_within(process, 10s));
    process.exit_status();
    auto broken = spec("broken-" + std::to_string(i), {"exit", "0"});
    broken.program = "/nothing";
    CHECK_FALSE(VmProcess::spawn(host, broken));
  }
  CHECK(open_now() == before);
}

TEST_CASE_METHOD(ConfineFixture, "a program that is not in the root is named, and nothing is left", "[confine]") {
  auto wanted = spec("missing", {"exit", "0"});
  wanted.program = "/usr/bin/qemu";
  const auto process = VmProcess::spawn(host, wanted);
  REQUIRE_FALSE(process);
  CHECK(process.error().code == ErrorCode::vmm_missing);
  CHECK(process.error().subject == "/usr/bin/qemu");
  CHECK_FALSE(process.error().mend.empty());
}

TEST_CASE_METHOD(ConfineFixture, "a source that is not there is named", "[confine]") {
  auto wanted = spec("no-source", {"exit", "0"});
  wanted.root.push_back({.kind = RootEntry::Kind::file, .source = folder / "absent", .target = "/absent"});
  const auto process = VmProcess::spawn(host, wanted);
  REQUIRE_FALSE(process);
  CHECK(process.error().code == ErrorCode::vmm_failed);
  CHECK(process.error().subject == (folder / "absent").string());
}

TEST_CASE_METHOD(ConfineFixture, "a source of another kind is refused", "[confine]") {
  auto wanted = spec("other-kind", {"exit", "0"});
  wanted.root.push_back({.kind = RootEntry::Kind::file, .source = "/dev/null", .target = "/null"});
  const auto process = VmProcess::spawn(host, wanted);
  REQUIRE_FALSE(process);
  CHECK(process.error().subject == "/dev/null");
}

TEST_CASE_METHOD(ConfineFixture, "a writable source that was replaced by a link is refused", "[confine]") {
  auto wanted = spec("swapped", {"exit", "0"});
  std::filesystem::create_symlink("/etc/passwd", folder / "disk");
  wanted.root.push_back(
      {.kind = RootEntry::Kind::file, .source = folder / "disk", .target = "/disk", .read_only = false});
  CHECK_FALSE(VmProcess::spawn(host, wanted));
}

TEST_CASE_METHOD(ConfineFixture, "what makes no sense is refused before anything is started", "[confine]") {
  const auto refused = [&](auto change) {
    auto wanted = spec("senseless", {"exit", "0"});
    change(wanted);
    const auto process = VmProcess::spawn(host, wanted);
    REQUIRE_FALSE(process);
    CHECK(process.error().code == ErrorCode::invalid_value);
  };
  refused([](VmProcessSpec& spec) { spec.uid = 0; });
  refused([](VmProcessSpec& spec) { spec.argv.clear(); });
  refused([](VmProcessSpec& spec) { spec.program = "vmm"; });
  refused([](VmProcessSpec& spec) { spec.name = "../x"; });
  refused([](VmProcessSpec& spec) { spec.argv.push_back(std::string("a\0b", 3)); });
  refused([](VmProcessSpec& spec) { spec.root[1].target = "/../work"; });
  refused([](VmProcessSpec& spec) { spec.root[1].target = "work"; });
  refused([](VmProcessSpec& spec) { spec.root[1].target = "/vmm/below"; });
  refused([](VmProcessSpec& spec) { spec.root[1].target = "/vmm"; });
  refused([](VmProcessSpec& spec) { spec.descriptors = {{.source = 0, .target = 2}}; });
  refused([](VmProcessSpec& spec) { spec.descriptors = {{.source = 0, .target = 3}, {.source = 0, .target = 3}}; });
}

TEST_CASE_METHOD(ConfineFixture, "two VMs of one name cannot be", "[confine]") {
  const auto first = spawn(spec("same", {"wait"}));
  const auto second = VmProcess::spawn(host, spec("same", {"wait"}));
  REQUIRE_FALSE(second);
  CHECK(second.error().code == ErrorCode::conflict);
  CHECK_FALSE(first.has_ended());
}
