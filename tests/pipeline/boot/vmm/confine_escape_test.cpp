#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <cstddef>
#include <cstring>
#include <fstream>
#include <map>

#include "tests/pipeline/boot/vmm/confine_fixture.hpp"

using namespace nanobox;
using namespace nanobox::test;
using namespace std::chrono_literals;
namespace fs = std::filesystem;

namespace {

/// A System V segment of the host, which every user may attach.
class SharedSegment {
public:
  explicit SharedSegment(key_t key) : id_(::shmget(key, 4096, IPC_CREAT | IPC_EXCL | 0666)) { REQUIRE(id_ >= 0); }
  SharedSegment(const SharedSegment&) = delete;
  SharedSegment& operator=(const SharedSegment&) = delete;
  ~SharedSegment() { ::shmctl(id_, IPC_RMID, nullptr); }

private:
  int id_;
};

UniqueFd listen_abstract(const std::string& name) {
  UniqueFd listening{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path + 1, name.data(), name.size());
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  REQUIRE(::bind(listening.get(), reinterpret_cast<sockaddr*>(&address), length) == 0);
  REQUIRE(::listen(listening.get(), 1) == 0);
  return listening;
}

fs::path open_file(const fs::path& path) {
  std::ofstream{path} << "secret";
  fs::permissions(path, fs::perms{0666});  // so that nothing but the confinement is in the way
  return path;
}

std::map<std::string, int> attempts(const std::string& report) {
  std::map<std::string, int> result;
  std::istringstream lines{report};
  std::string name;
  int number = 0;
  while (lines >> name >> number) result[name] = number;
  return result;
}

}  // namespace

TEST_CASE_METHOD(ConfineFixture, "a program that took its VMM over reaches nothing", "[confine]") {
  const auto other_spec = spec("other", {"wait"});
  const auto other = spawn(other_spec);
  const auto other_disk = open_file(folder / "work/other/disk");
  fs::permissions(folder / "work/other", fs::perms{0777});
  const auto store = open_file(folder / "control.db");
  const std::string socket_name = "nanobox-confine-" + std::to_string(::getpid());
  const auto socket = listen_abstract(socket_name);
  const key_t key = 0x6e620000 + (::getpid() & 0xffff);
  const SharedSegment segment{key};

  TestPipe report;
  auto wanted =
      spec("escaped", {"escape", other_disk.string(), store.string(), (folder / "run/escaped/identity").string(),
                       std::to_string(::getpid()), std::to_string(other.pid()),
                       std::to_string(other.identity().parent.pid), "@" + socket_name, "#" + std::to_string(key)});
  wanted.descriptors = {{.source = report.write.get(), .target = 3}};
  const auto process = spawn(wanted);
  const auto tried = attempts(report.read_all());
  REQUIRE(ends_within(process, 20s));
  CHECK(process.exit_status().exit_code == 0);

  REQUIRE(tried.contains("done"));
  CHECK(tried.size() > 110);
  for (const auto& [name, number] : tried) {
    INFO(name);
    CHECK(number != 0);
  }
  CHECK(tried.at("look:/proc/1/root") == ENOENT);
  CHECK(tried.at("read:" + store.string()) == ENOENT);
  CHECK(tried.at("kill:" + std::to_string(other.pid())) == ESRCH);
  CHECK(tried.at("socket-vsock") == EAFNOSUPPORT);
  CHECK(tried.at("connect:@" + socket_name) == ECONNREFUSED);
  CHECK(tried.at("shared-memory:#" + std::to_string(key)) == ENOENT);
  CHECK(tried.at("execute-written") == EACCES);
  const int call32 = tried.at("32-bit-call");
  CHECK((call32 == SIGSYS || call32 == SIGSEGV));  // the latter where the kernel has no such calls
  CHECK_FALSE(other.has_ended());
  CHECK(read_file(store) == "secret");
  CHECK(read_file(other_disk) == "secret");
}
