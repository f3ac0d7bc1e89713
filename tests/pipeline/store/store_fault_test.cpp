#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <fstream>
#include <iterator>

#include "config/unique_fd.hpp"
#include "pipeline/store/control_store.hpp"
#include "pipeline/store/data_folder_lock.hpp"
#include "pipeline/store/node_store.hpp"
#include "store_folder.hpp"

using namespace nanobox;

namespace {

void sql(const std::filesystem::path& file, const char* statement) {
  sqlite3* handle = nullptr;
  REQUIRE(sqlite3_open(file.c_str(), &handle) == SQLITE_OK);
  CHECK(sqlite3_exec(handle, statement, nullptr, nullptr, nullptr) == SQLITE_OK);
  sqlite3_close(handle);
}

RecordChange put(std::string key, std::string value) {
  return {
      .kind = "k", .key = std::move(key), .expect = std::nullopt, .owner = "", .value = std::move(value), .lease = 0};
}

// Runs in the child: pairs of equal records, each pair one transaction, its number reported once it is committed.
[[noreturn]] void commit_pairs_until_killed(const std::filesystem::path& file, int report) {
  const auto store = ControlStore::open(file);
  if (!store) ::_exit(2);
  for (int next = 1;; ++next) {
    const auto value = std::to_string(next);
    if (!(*store)->commit({put("left", value), put("filler", std::string(20'000, 'x')), put("right", value)}))
      ::_exit(3);
    if (::write(report, &next, sizeof next) != sizeof next) ::_exit(4);
  }
}

}  // namespace

TEST_CASE("a store killed in the middle of transactions keeps every finished one whole", "[store]") {
  const test::StoreFolder folder;
  const auto file = folder / "control.db";
  for (int round = 0; round < 8; ++round) {
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    const UniqueFd reports{ends[0]};
    UniqueFd report{ends[1]};
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) commit_pairs_until_killed(file, report.get());
    report.reset();
    int last = 0;
    for (int next = 0; last < 5 + round * 7 && ::read(reports.get(), &next, sizeof next) == sizeof next;) last = next;
    ::kill(child, SIGKILL);
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    REQUIRE(WIFSIGNALED(status));
    for (int next = 0; ::read(reports.get(), &next, sizeof next) == sizeof next;) last = next;

    const auto store = ControlStore::open(file).value();
    const auto left = store->get("k", "left").value();
    const auto right = store->get("k", "right").value();
    REQUIRE((left && right));
    CHECK(left->value == right->value);
    CHECK(left->version == right->version);
    CHECK(std::stoi(left->value) >= last);
  }
}

TEST_CASE("a full disk fails one commit whole, and the store goes on once there is space", "[store]") {
  const test::StoreFolder folder;
  if (::mount("none", folder.path().c_str(), "tmpfs", 0, "size=1m") != 0) {
    WARN("this user cannot mount a small file system: not tested");
    return;
  }
  struct Unmount {
    const std::filesystem::path& path;
    ~Unmount() { ::umount2(path.c_str(), MNT_DETACH); }
  } const unmount{folder.path()};
  const auto store = ControlStore::open(folder / "control.db").value();
  REQUIRE(store->commit({put("kept", "1")}));
  { std::ofstream(folder / "ballast") << std::string(2 << 20, 'x'); }
  const auto full = store->commit({put("kept", "2"), put("large", std::string(500'000, 'v'))});
  REQUIRE_FALSE(full);
  CHECK(full.error().code == ErrorCode::disk_full);
  CHECK(full.error().mend == "free space on that file system");
  CHECK(store->get("k", "kept").value()->value == "1");
  std::filesystem::remove(folder / "ballast");
  CHECK(store->commit({put("kept", "3")}));
  CHECK(store->get("k", "kept").value()->value == "3");
  CHECK_FALSE(store->get("k", "large").value());
}

TEST_CASE("a file that is no database is refused and left as it is", "[store]") {
  const test::StoreFolder folder;
  const auto file = folder / "control.db";
  std::ofstream(file) << std::string(5000, 'x');
  const auto store = ControlStore::open(file);
  REQUIRE_FALSE(store);
  CHECK(store.error().code == ErrorCode::store_failed);
  CHECK(store.error().subject == file.string());
  CHECK(store.error().mend.find("backup") != std::string::npos);
  CHECK(std::filesystem::file_size(file) == 5000);
}

TEST_CASE("a damaged store is refused with the mend", "[store]") {
  const test::StoreFolder folder;
  const auto file = folder / "control.db";
  {
    const auto store = ControlStore::open(file).value();
    for (int i = 0; i < 200; ++i) REQUIRE(put_record(*store, "k", std::to_string(i), "o", std::string(500, 'v')));
  }
  {
    std::fstream bytes(file, std::ios::in | std::ios::out | std::ios::binary);
    bytes.seekp(4096);
    bytes << std::string(40'000, '\x5a');
  }
  const auto store = ControlStore::open(file);
  REQUIRE_FALSE(store);
  CHECK(store.error().code == ErrorCode::store_failed);
  CHECK(store.error().mend.find("backup") != std::string::npos);
}

TEST_CASE("a store made by a newer NanoBox is refused, naming both schemas", "[store]") {
  const test::StoreFolder folder;
  const auto file = folder / "node.db";
  REQUIRE(NodeStore::open(file));
  sql(file, "PRAGMA user_version=99");
  const auto store = NodeStore::open(file);
  REQUIRE_FALSE(store);
  CHECK(store.error().code == ErrorCode::store_failed);
  CHECK(store.error().reason.find("newer NanoBox (schema 99, this one knows 1)") != std::string::npos);
}

TEST_CASE("another program's database, or the other store's file, is refused", "[store]") {
  const test::StoreFolder folder;
  sql(folder / "foreign.db", "CREATE TABLE theirs (a)");
  CHECK(ControlStore::open(folder / "foreign.db").error().reason == "it is a database of another program");
  REQUIRE(NodeStore::open(folder / "node.db"));
  CHECK(ControlStore::open(folder / "node.db").error().code == ErrorCode::store_failed);
}

TEST_CASE("a store that cannot be made names its file", "[store]") {
  const auto store = ControlStore::open("/proc/nowhere/control.db");
  REQUIRE_FALSE(store);
  CHECK(store.error().code == ErrorCode::store_failed);
  CHECK(store.error().subject == "/proc/nowhere/control.db");
}

TEST_CASE("only the owner can read the store and what SQLite lays beside it", "[store]") {
  const test::StoreFolder folder;
  const auto store = ControlStore::open(folder / "control.db").value();
  REQUIRE(put_record(*store, "k", "a", "o", "1"));
  for (const char* name : {"control.db", "control.db-wal", "control.db-shm"}) {
    struct stat info {};
    REQUIRE(::stat((folder / name).c_str(), &info) == 0);
    CHECK((info.st_mode & 0777) == 0600);
  }
}

TEST_CASE("the second process gets a clear error that names the first's pid", "[lock]") {
  const test::StoreFolder folder;
  const auto data = folder / "data";
  {
    const auto held = DataFolderLock::take(data).value();
    struct stat info {};
    REQUIRE(::stat(data.c_str(), &info) == 0);
    CHECK((info.st_mode & 0777) == 0700);
    const auto second = DataFolderLock::take(data);
    REQUIRE_FALSE(second);
    CHECK(second.error().code == ErrorCode::data_folder_locked);
    CHECK(second.error().subject == data.string());
    CHECK(second.error().reason.find("(pid " + std::to_string(::getpid()) + ")") != std::string::npos);
  }
  CHECK(DataFolderLock::take(data));
}

TEST_CASE("the lock goes with its process, however that ends", "[lock]") {
  const test::StoreFolder folder;
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  const UniqueFd taken{ends[0]};
  UniqueFd tell{ends[1]};
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    const auto held = DataFolderLock::take(folder.path());
    const char ok = held ? 1 : 0;
    if (::write(tell.get(), &ok, 1) != 1) ::_exit(1);
    for (;;) ::pause();
  }
  tell.reset();
  char ok = 0;
  REQUIRE(::read(taken.get(), &ok, 1) == 1);
  CHECK(ok == 1);
  CHECK_FALSE(DataFolderLock::take(folder.path()));
  ::kill(child, SIGKILL);
  REQUIRE(::waitpid(child, nullptr, 0) == child);
  CHECK(DataFolderLock::take(folder.path()));
}
