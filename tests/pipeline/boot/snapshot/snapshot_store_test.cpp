#include "pipeline/boot/snapshot/snapshot_store.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include "saved_folder.hpp"

using namespace nanobox;
using nanobox::test::SavedFolder;
namespace fs = std::filesystem;

namespace {

struct OpenSnapshots : SavedFolder {
  std::shared_ptr<SnapshotStore> store = SnapshotStore::open(root / "snapshots").value();
  void reopen() { store = SnapshotStore::open(root / "snapshots").value(); }
  bool has(const std::string& key) { return store->find(key, 2, 128).has_value(); }
  /// When a snapshot was last used, in seconds of some epoch.
  static void set_used(const fs::path& folder, long seconds) {
    const timespec times[2] = {{.tv_sec = seconds, .tv_nsec = 0}, {.tv_sec = seconds, .tv_nsec = 0}};
    REQUIRE(::utimensat(AT_FDCWD, folder.c_str(), times, 0) == 0);
  }
  static bool nothing(const fs::path&) { return false; }
};

Template some_template() {
  Template entry;
  entry.owner = "owner";
  entry.rootfs.identity = "root";
  entry.config.env = {"A=1"};
  entry.prime = Prime{.command = "sh", .args = {"-c", "true"}, .ready = {}};
  return entry;
}

}  // namespace

TEST_CASE_METHOD(OpenSnapshots, "what is published is found, also by the next daemon", "[snapshot]") {
  CHECK(store->find("k", 2, 128).error().code == ErrorCode::boot_path_unavailable);
  const auto folder = publish(*store, "k");
  CHECK(store->find("k", 2, 128).value().folder == folder);
  CHECK(store->find("k", 1, 128).error().code == ErrorCode::boot_path_unavailable);
  reopen();
  CHECK(has("k"));
  CHECK(store->bytes() > 0);
}

TEST_CASE_METHOD(OpenSnapshots, "a half folder goes with its value, and at the latest at the next start",
                 "[snapshot]") {
  fs::path path;
  {
    const auto half = store->begin();
    REQUIRE(half);
    path = half->path();
    CHECK(fs::exists(path));
  }
  CHECK_FALSE(fs::exists(path));
  fill(root / "snapshots/.tmp/half-of-a-crash");
  reopen();
  CHECK(fs::is_empty(root / "snapshots/.tmp"));
}

TEST_CASE_METHOD(OpenSnapshots, "publishing again puts the new in place of the old", "[snapshot]") {
  publish(*store, "k", 4096);
  CHECK(has("k"));
  const auto folder = publish(*store, "k", 8192);
  CHECK(has("k"));
  CHECK(fs::file_size(folder / "mem") == 8192);
  CHECK(fs::is_empty(root / "snapshots/.tmp"));
}

TEST_CASE_METHOD(OpenSnapshots, "one that is broken is told once and gone", "[snapshot]") {
  const auto folder = publish(*store, "k");
  const bool was_known = GENERATE(false, true);
  if (was_known) CHECK(has("k"));
  nanobox::test::write_file(folder / "mem", std::string(4096, 'x'));
  CHECK(store->find("k", 2, 128).error().code == ErrorCode::snapshot_invalid);
  CHECK_FALSE(fs::exists(folder));
  CHECK(store->find("k", 2, 128).error().code == ErrorCode::boot_path_unavailable);
}

TEST_CASE_METHOD(OpenSnapshots, "a dropped one is found no more, nor are the sizes of a dropped key", "[snapshot]") {
  const auto folder = publish(*store, "k");
  CHECK(has("k"));
  SECTION("the size") {
    store->drop(folder);
    CHECK_FALSE(fs::exists(folder.parent_path()));
  }
  SECTION("the key") {
    store->drop(folder.parent_path());
  }
  CHECK(store->find("k", 2, 128).error().code == ErrorCode::boot_path_unavailable);
  CHECK(store->key_folders().empty());
  CHECK(fs::exists(root / "snapshots/templates"));
  CHECK(store->bytes() == 0);
}

TEST_CASE_METHOD(OpenSnapshots, "shrinking takes the least recently used that is not in use", "[snapshot]") {
  const auto a = publish(*store, "a", 1 << 20), b = publish(*store, "b", 1 << 20), c = publish(*store, "c", 1 << 20);
  set_used(a, 100);
  set_used(b, 200);
  set_used(c, 300);
  const auto all = store->bytes();
  CHECK(store->shrink(all, nothing) == 0);
  SECTION("by time") {
    CHECK(store->shrink(all - 1, nothing) == 1);
    CHECK_FALSE(has("a"));
    CHECK(has("b"));
    CHECK(has("c"));
  }
  SECTION("a find is a use") {
    CHECK(has("a"));
    CHECK(store->shrink(all - 1, nothing) == 1);
    CHECK(has("a"));
    CHECK_FALSE(has("b"));
  }
  SECTION("also after a restart") {
    CHECK(has("a"));
    reopen();
    CHECK(store->shrink(all - 1, nothing) == 1);
    CHECK_FALSE(has("b"));
  }
  SECTION("but for what is in use or held") {
    const auto held = store->hold(b);
    CHECK(store->shrink(0, [&](const fs::path& folder) { return folder == a; }) == 1);
    CHECK(has("a"));
    CHECK(has("b"));
    CHECK_FALSE(has("c"));
  }
}

TEST_CASE_METHOD(OpenSnapshots, "a folder is held with its sizes, for as long as somebody does", "[snapshot]") {
  const auto folder = publish(*store, "k");
  CHECK_FALSE(store->is_held(folder));
  auto held = store->hold(folder);
  const auto second = store->hold(folder);
  CHECK(store->is_held(folder));
  CHECK(store->is_held(folder.parent_path()));
  held.reset();
  CHECK(store->is_held(folder));
  CHECK_FALSE(store->is_held(store->template_folder("other", 2, 128)));
  held = store->hold(store->template_folder("other", 1, 1).parent_path());
  CHECK(store->is_held(store->template_folder("other", 2, 128)));
}

TEST_CASE_METHOD(OpenSnapshots, "a key's sizes come by their last use", "[snapshot]") {
  CHECK(store->sizes_of("k").empty());
  const auto first = publish(*store, "k");
  const auto second = store->template_folder("k", 1, 64);
  fill(second);
  nanobox::test::write_file(first.parent_path() / "disk.qcow2", "a template's own disk is no size");
  set_used(first, 100);
  set_used(second, 200);
  CHECK(store->sizes_of("k") == std::vector<fs::path>{first, second});
  set_used(first, 300);
  CHECK(store->sizes_of("k") == std::vector<fs::path>{second, first});
}

TEST_CASE("a key changes with whatever the snapshot is made of, and only with that", "[snapshot]") {
  const auto key = SnapshotStore::key_of(some_template(), "kernel", "init", "driver");
  const auto with = [](auto change) {
    auto entry = some_template();
    change(entry);
    return SnapshotStore::key_of(entry, "kernel", "init", "driver");
  };
  CHECK(with([](Template& entry) { entry.name = "another"; }) == key);
  CHECK(with([](Template& entry) { entry.resources.disk_mb = 7; }) == key);
  CHECK(SnapshotStore::key_of(some_template(), "other", "init", "driver") != key);
  CHECK(SnapshotStore::key_of(some_template(), "kernel", "other", "driver") != key);
  CHECK(SnapshotStore::key_of(some_template(), "kernel", "init", "other") != key);
  CHECK(with([](Template& entry) { entry.owner = "other"; }) != key);
  CHECK(with([](Template& entry) { entry.rootfs.identity = "other"; }) != key);
  CHECK(with([](Template& entry) { entry.config.env = {"A=2"}; }) != key);
  CHECK(with([](Template& entry) { entry.config.user = "nobody"; }) != key);
  CHECK(with([](Template& entry) { entry.prime.reset(); }) != key);
  CHECK(with([](Template& entry) { entry.prime->args = {"-c", "false"}; }) != key);
  CHECK(with([](Template& entry) { entry.prime->args = {"-c true"}; }) != key);
  CHECK(with([](Template& entry) { entry.prime->background = true; }) != key);
}

TEST_CASE("two makings have two keys of one kind", "[snapshot]") {
  const auto kind = SnapshotStore::key_of(some_template(), "kernel", "init", "driver");
  const auto one = SnapshotStore::new_key(kind), two = SnapshotStore::new_key(kind);
  CHECK(one != two);
  CHECK(SnapshotStore::is_of(one, kind));
  CHECK(SnapshotStore::is_of(two, kind));
  CHECK_FALSE(SnapshotStore::is_of(one, kind.substr(1)));
  CHECK_FALSE(SnapshotStore::is_of("", kind));
}
