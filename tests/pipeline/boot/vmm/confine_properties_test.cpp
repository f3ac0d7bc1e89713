#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <set>
#include <sstream>
#include <thread>

#include "tests/pipeline/boot/vmm/confine_fixture.hpp"

using namespace nanobox;
using namespace nanobox::test;
namespace fs = std::filesystem;

namespace {

fs::path proc(pid_t pid, const std::string& what) {
  return fs::path{"/proc"} / std::to_string(pid) / what;
}

}  // namespace

TEST_CASE_METHOD(ConfineFixture, "a VMM runs as its own user, without groups and capabilities", "[confine]") {
  const auto wanted = spec("user", {"wait"});
  const auto process = spawn(wanted);
  const auto four = [](uid_t id) {
    const auto text = std::to_string(id);
    return text + "\t" + text + "\t" + text + "\t" + text;
  };
  CHECK(status_field(process.pid(), "Uid") == four(wanted.uid));
  CHECK(status_field(process.pid(), "Gid") == four(wanted.gid));
  CHECK(status_field(process.pid(), "Groups").find_first_not_of(" \t") == std::string::npos);
  for (const char* set : {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"})
    CHECK(status_field(process.pid(), set) == "0000000000000000");
  CHECK(status_field(process.pid(), "NoNewPrivs") == "1");
  CHECK(status_field(process.pid(), "Seccomp") == "2");
  CHECK(status_field(process.pid(), "SigIgn") == "0000000000000000");
  CHECK(status_field(process.pid(), "SigBlk") == "0000000000000000");
}

TEST_CASE_METHOD(ConfineFixture, "a VMM has namespaces of its own, shared with no other VM", "[confine]") {
  const auto one = spawn(spec("one", {"wait"}));
  const auto two = spawn(spec("two", {"wait"}));
  for (const char* name : {"ns/mnt", "ns/pid", "ns/net", "ns/ipc", "ns/uts"}) {
    const auto first = fs::read_symlink(proc(one.pid(), name));
    CHECK(first != fs::read_symlink(proc(::getpid(), name)));
    CHECK(first != fs::read_symlink(proc(two.pid(), name)));
    CHECK(fs::read_symlink(proc(one.identity().parent.pid, name)) == fs::read_symlink(proc(::getpid(), name)));
  }
  CHECK(status_field(one.pid(), "NSpid") == std::to_string(one.pid()) + "\t1");
  const auto routes = read_file(proc(one.pid(), "net/route"));
  CHECK(std::count(routes.begin(), routes.end(), '\n') <= 1);  // a heading at most: nothing can be reached
}

TEST_CASE_METHOD(ConfineFixture, "a VMM's root holds what it was given and nothing else", "[confine]") {
  auto wanted = spec("root", {"wait"});
  wanted.root.push_back(
      {.kind = RootEntry::Kind::device, .source = "/dev/null", .target = "/dev/null", .read_only = false});
  wanted.root.push_back({.kind = RootEntry::Kind::symlink, .source = "work", .target = "/link"});
  const auto process = spawn(wanted);
  std::set<std::string> found;
  const auto root = proc(process.pid(), "root");
  for (const auto& entry : fs::recursive_directory_iterator{root})
    found.insert(entry.path().string().substr(root.string().size()));
  CHECK(found == std::set<std::string>{"/dev", "/dev/null", "/link", "/vmm", "/work"});

  std::set<std::string> mounts;
  std::istringstream lines{read_file(proc(process.pid(), "mountinfo"))};
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words{line};
    std::string id, parent, device, source, target, options;
    words >> id >> parent >> device >> source >> target >> options;
    const auto has = [&](const std::string& option) {
      return ("," + options + ",").find("," + option + ",") != std::string::npos;
    };
    mounts.insert(target);
    CHECK(has("nosuid"));
    CHECK(has("nodev") == (target != "/dev/null"));
    CHECK(has("ro") == (target == "/" || target == "/vmm"));
    CHECK(has("noexec") == (target != "/vmm"));
    CHECK(line.find("shared:") == std::string::npos);
  }
  CHECK(mounts == std::set<std::string>{"/", "/dev/null", "/vmm", "/work"});
}

TEST_CASE_METHOD(ConfineFixture, "a VMM leads a session without a terminal", "[confine]") {
  const auto process = spawn(spec("session", {"wait"}));
  CHECK(::getsid(process.pid()) == process.pid());
  CHECK(::getpgid(process.pid()) == process.pid());
  CHECK(::getsid(process.identity().parent.pid) == process.identity().parent.pid);
  CHECK(::getsid(process.pid()) != ::getsid(0));
}

TEST_CASE_METHOD(ConfineFixture, "a VMM is the kernel's first choice when memory is short, and dumps no core",
                 "[confine]") {
  const auto process = spawn(spec("score", {"wait"}));
  CHECK(read_file(proc(process.pid(), "oom_score_adj")) == "500\n");
  CHECK(read_file(proc(process.pid(), "limits")).find("Max core file size        0                    0") !=
        std::string::npos);
}

TEST_CASE_METHOD(ConfineFixture, "the tiny parent has no capabilities either, and is small", "[confine]") {
  const auto process = spawn(spec("tiny", {"wait"}));
  const auto parent = process.identity().parent.pid;
  // It gives them up right after it has told us of the VMM, for until then it may have to end it.
  const auto patience = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (status_field(parent, "CapPrm") != "0000000000000000" && std::chrono::steady_clock::now() < patience)
    std::this_thread::yield();
  CHECK(status_field(parent, "CapEff") == "0000000000000000");
  CHECK(status_field(parent, "CapPrm") == "0000000000000000");
  CHECK(status_field(parent, "NoNewPrivs") == "1");
  CHECK(status_field(parent, "PPid") != std::to_string(::getpid()));
  CHECK(std::stoi(status_field(parent, "RssAnon")) < 600);  // kB
}

TEST_CASE_METHOD(ConfineFixture, "a VMM is in its cgroup with its limits, its parent is not", "[confine]") {
  auto wanted = spec("cgroup", {"wait"});
  wanted.limits.cgroup = {.memory_bytes = 64U << 20, .cpu_percent = 50, .max_pids = 8};
  const auto process = spawn(wanted);
  if (host.report.cgroups.version == CgroupVersion::none) return;
  CHECK(process.cgroup().members() == std::vector<int>{process.pid()});
  const auto own = read_file(proc(process.pid(), "cgroup"));
  CHECK(own.find("/" + host.cgroups.mark() + "/cgroup\n") != std::string::npos);
  CHECK(read_file(proc(process.identity().parent.pid, "cgroup")).find(host.cgroups.mark() + "/") == std::string::npos);
}

TEST_CASE_METHOD(ConfineFixture, "where no namespaces are allowed, all else still holds", "[confine]") {
  host.report.level = ConfinementLevel::minimal;
  auto wanted = spec("minimal", {"wait"});
  const auto refused = VmProcess::spawn(host, wanted);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == ErrorCode::host_unsuitable);

  const auto program = folder / "confine_stand_in";
  wanted.program = program;
  wanted.root = {{.kind = RootEntry::Kind::file, .source = program, .target = program}};
  const auto process = spawn(wanted);
  CHECK(status_field(process.pid(), "Uid").starts_with(std::to_string(wanted.uid)));
  CHECK(status_field(process.pid(), "CapEff") == "0000000000000000");
  CHECK(status_field(process.pid(), "CapBnd") == "0000000000000000");
  CHECK(status_field(process.pid(), "NoNewPrivs") == "1");
  CHECK(status_field(process.pid(), "Seccomp") == "2");
  CHECK(::getsid(process.pid()) == process.pid());
}

TEST_CASE_METHOD(ConfineFixture, "a VMM can be given a network namespace that exists already", "[confine]") {
  const auto holder = spawn(spec("holder", {"wait"}));
  const UniqueFd network{::open(proc(holder.pid(), "ns/net").c_str(), O_RDONLY | O_CLOEXEC)};
  auto wanted = spec("joins", {"wait"});
  wanted.network_namespace = network.get();
  const auto process = spawn(wanted);
  CHECK(fs::read_symlink(proc(process.pid(), "ns/net")) == fs::read_symlink(proc(holder.pid(), "ns/net")));
  CHECK(fs::read_symlink(proc(process.pid(), "ns/mnt")) != fs::read_symlink(proc(holder.pid(), "ns/mnt")));
}
