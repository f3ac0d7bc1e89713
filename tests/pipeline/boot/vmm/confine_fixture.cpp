#include "tests/pipeline/boot/vmm/confine_fixture.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <fstream>
#include <sstream>

namespace nanobox::test {

namespace fs = std::filesystem;

namespace {

std::string make_folder() {
  std::string path = "/tmp/nanobox-confine-XXXXXX";
  REQUIRE(::mkdtemp(path.data()));
  fs::permissions(path, fs::perms{0755});
  return path;
}

ConfinementHost detect(const fs::path& folder) {
  for (const char* program : {NANOBOX_VM_PARENT, NANOBOX_STAND_IN}) {
    const auto copy = folder / fs::path{program}.filename();
    fs::copy_file(program, copy);
    fs::permissions(copy, fs::perms{0755});
  }
  auto host = ConfinementHost::detect(folder, folder / "nanobox-vm-parent");
  if (!host) FAIL(describe(host.error()));
  return std::move(*host);
}

}  // namespace

ConfineFixture::ConfineFixture() : folder(make_folder()), host(detect(folder)) {}

ConfineFixture::~ConfineFixture() {
  for (const auto& identity : started_) {
    if (auto process = VmProcess::adopt(identity)) {
      process->end();
      ends_within(*process, std::chrono::seconds{10});
      process->exit_status();
    }
    if (const auto parent = open_process(identity.parent)) {
      pollfd ended{.fd = parent->get(), .events = POLLIN, .revents = 0};
      CHECK(::poll(&ended, 1, 10'000) == 1);
    }
    if (auto cgroup = Cgroup::from_string(identity.cgroup)) CHECK(cgroup->remove());
    CHECK_FALSE(open_process(identity.vmm));
  }
  const auto left = host.cgroups.remove_leftovers({});
  CHECK(left);
  if (left) CHECK(*left == 0);
  CHECK(read_file("/proc/self/mountinfo").find(folder.string()) == std::string::npos);
  std::error_code ignored;
  fs::remove_all(folder, ignored);
}

VmProcessSpec ConfineFixture::spec(const std::string& name, std::vector<std::string> arguments) {
  VmProcessSpec spec;
  spec.name = name;
  spec.program = "/vmm";
  spec.argv = std::move(arguments);
  spec.argv.insert(spec.argv.begin(), "/vmm");
  spec.uid = spec.gid = next_uid_++;
  spec.run_dir = folder / "run" / name;
  const fs::path work = folder / "work" / name;
  fs::create_directories(spec.run_dir);
  fs::create_directories(work);
  fs::permissions(spec.run_dir, fs::perms{0700});
  fs::permissions(work, fs::perms{0700});
  REQUIRE(::chown(work.c_str(), spec.uid, spec.gid) == 0);
  spec.root = {{.kind = RootEntry::Kind::file, .source = folder / "confine_stand_in", .target = "/vmm"},
               {.kind = RootEntry::Kind::folder, .source = work, .target = "/work", .read_only = false}};
  return spec;
}

VmProcess ConfineFixture::spawn(const VmProcessSpec& spec) {
  auto process = VmProcess::spawn(host, spec);
  if (!process) FAIL(describe(process.error()));
  remember(process->identity());
  return std::move(*process);
}

TestPipe::TestPipe() {
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  read.reset(ends[0]);
  write.reset(ends[1]);
}

std::string TestPipe::read_all() {
  write.reset();
  std::string text;
  char buffer[4096];
  for (ssize_t count = 0; (count = ::read(read.get(), buffer, sizeof buffer)) > 0;)
    text.append(buffer, static_cast<std::size_t>(count));
  return text;
}

std::string TestPipe::read_line() {
  std::string line;
  for (char c = 0; ::read(read.get(), &c, 1) == 1 && c != '\n';) line += c;
  return line;
}

bool ends_within(const VmProcess& process, std::chrono::milliseconds patience) {
  pollfd ended{.fd = process.exit_fd(), .events = POLLIN, .revents = 0};
  return ::poll(&ended, 1, static_cast<int>(patience.count())) == 1;
}

std::string read_file(const fs::path& path) {
  std::ifstream file{path};
  std::ostringstream content;
  content << file.rdbuf();
  return content.str();
}

std::string status_field(pid_t pid, const std::string& name) {
  std::istringstream lines{read_file("/proc/" + std::to_string(pid) + "/status")};
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with(name + ":")) return line.substr(name.size() + 2);
  return {};
}

}  // namespace nanobox::test
