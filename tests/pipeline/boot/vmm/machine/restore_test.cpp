#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <sstream>

#include "pipeline/boot/disk/overlay.hpp"
#include "pipeline/boot/snapshot/save.hpp"
#include "tests/pipeline/boot/vmm/machine/lab.hpp"

using namespace nanobox;
using namespace nanobox::test;

namespace {

std::string text_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return std::move(text).str();
}

/// A VM with what it tells.
struct Running {
  std::unique_ptr<Log> log = std::make_unique<Log>();
  std::unique_ptr<Vm> vm;

  std::string ask(const std::string& line, const std::string& answer) {
    log->take_channel();
    say(*vm, line);
    REQUIRE(log->wait_text(answer));
    return log->take_channel();
  }
};

/// A lab with a snapshot of a VM that wrote "template" to its disk.
class Copies {
public:
  Copies()
      : lab_(folder_.path()), driver_(lab_.driver()), store_(must(SnapshotStore::open(lab_.data() / "snapshots"))) {
    const auto spec = lab_.spec("sb-template");
    base_memory_ = spec.memory_file;
    Running made;
    made.vm = must(driver_->start(spec, made.log->events()));
    REQUIRE(made.log->wait_ready());
    made.ask("write template", "written");
    SaveOrder order = order_for(spec.memory_file, spec.overlay, "template");
    order.capture.whole_memory = true;
    order.capture.goes_on = false;
    order.disk_into_folder = true;
    snapshot_ = must(save(*made.vm, *store_, order)).state;
    made.vm->end();
    REQUIRE(made.log->wait_exit());
  }

  SaveOrder order_for(const fs::path& memory_base, const fs::path& overlay, const std::string& name) const {
    SaveOrder order;
    order.capture.memory_base = memory_base;
    order.capture.memory_bytes = std::uint64_t{128} << 20;
    order.capture.disk = {overlay};
    order.saved = {.folder = store_->sandbox_folder(name),
                   .fingerprint = driver_->fingerprint(1, ""),
                   .tsc_khz = 1,
                   .vcpu = 1,
                   .memory_mb = 128,
                   .disk_bytes = must(overlay_size(overlay)),
                   .taken_at = {}};
    return order;
  }

  fs::path overlay_of(const std::string& id) const { return lab_.data() / id / "disk.qcow2"; }

  Result<std::unique_ptr<EmptyVmm>> prepare(const std::string& id, const fs::path& memory, const fs::path& state = {}) {
    fs::create_directories(lab_.data() / id / "run");
    if (!state.empty()) must(create_empty_overlay(overlay_of(id), snapshot_.disk_bytes, "below", "qcow2"));
    return driver_->prepare({.id = id,
                             .vcpu = 1,
                             .memory_mb = 128,
                             .memory_file = memory,
                             .base_image = lab_.base(),
                             .disk_layers = {snapshot_.disk()},
                             .state = state,
                             .overlay = overlay_of(id),
                             .run_dir = lab_.data() / id / "run",
                             .uid = 70'100 + next_uid_++});
  }

  /// A copy of `state`, over `layers`, with a disk of its own.
  Running restore(const std::string& id, const SavedState& state, const fs::path& memory_layer,
                  const std::vector<fs::path>& layers) {
    const auto empty = must(prepare(id, snapshot_.memory()));
    must(create_empty_overlay(overlay_of(id), state.disk_bytes, "below", "qcow2"));
    return restore(id, *empty, state, memory_layer, layers);
  }
  Running restore(const std::string& id, EmptyVmm& waiting, const SavedState& state, const fs::path& memory_layer,
                  const std::vector<fs::path>& layers) {
    Running copy;
    copy.vm = std::move(must(driver_->restore(waiting,
                                              {.state = state.state(),
                                               .memory_layer = memory_layer,
                                               .base_image = lab_.base(),
                                               .disk_layers = layers,
                                               .overlay = overlay_of(id)},
                                              copy.log->events()))
                            .vm);
    return copy;
  }
  Running restore(const std::string& id) { return restore(id, snapshot_, {}, {snapshot_.disk()}); }

  Lab& lab() { return lab_; }
  VmmDriver& driver() { return *driver_; }
  SnapshotStore& store() { return *store_; }
  const SavedState& snapshot() const { return snapshot_; }

private:
  const Folder folder_;
  Lab lab_;
  std::unique_ptr<VmmDriver> driver_;
  std::shared_ptr<SnapshotStore> store_;
  fs::path base_memory_;
  SavedState snapshot_;
  std::uint32_t next_uid_ = 0;
};

void end(Running& running) {
  running.vm->end();
  CHECK(running.log->wait_exit());
}

}  // namespace

TEST_CASE("copies of a snapshot go on where it was taken, each for itself", "[restore]") {
  NANOBOX_NEEDS_KERNEL();
  Copies copies;
  const auto memory = text_of(copies.snapshot().memory());
  const auto disk = text_of(copies.snapshot().disk());

  auto one = copies.restore("sb-one");
  auto two = copies.restore("sb-two");
  CHECK(one.ask("read", "\n") == "template\n");
  one.ask("write one", "written");
  one.ask("dirty 8", "dirtied");
  CHECK(two.ask("read", "\n") == "template\n");
  two.ask("write two", "written");
  CHECK(one.ask("read", "\n") == "one\n");

  CHECK(text_of("/proc/" + std::to_string(one.vm->identity().pid) + "/maps").find("rw-s") == std::string::npos);
  end(one);
  end(two);
  CHECK(text_of(copies.snapshot().memory()) == memory);
  CHECK(text_of(copies.snapshot().disk()) == disk);
}

TEST_CASE("a running VM is copied as it is at one instant, and goes on", "[restore]") {
  NANOBOX_NEEDS_KERNEL();
  Copies copies;
  auto parent = copies.restore("sb-parent");
  parent.ask("write before", "written");

  auto order = copies.order_for(copies.snapshot().memory(), copies.overlay_of("sb-parent"), "fork");
  order.capture.freeze =
      DiskFreeze{.overlay = copies.overlay_of("sb-parent"), .layer = copies.lab().data() / "layers/1/disk.qcow2"};
  order.manifest = false;
  const auto saved = must(save(*parent.vm, copies.store(), order));
  CHECK(saved.captured.pause_us > 0);
  CHECK(saved.captured.dirty_bytes > 0);
  parent.ask("write after", "written");

  auto child = copies.restore("sb-child", saved.state, saved.state.pages(),
                              {copies.snapshot().disk(), order.capture.freeze->layer});
  CHECK(child.ask("read", "\n") == "before\n");
  child.ask("write child", "written");
  CHECK(parent.ask("read", "\n") == "after\n");

  // Its memory is two files deep now, its disk three; a copy of the copy has both.
  auto again = copies.order_for(copies.snapshot().memory(), copies.overlay_of("sb-child"), "again");
  again.capture.memory_layer = saved.state.pages();
  again.capture.freeze =
      DiskFreeze{.overlay = copies.overlay_of("sb-child"), .layer = copies.lab().data() / "layers/2/disk.qcow2"};
  const auto second = must(save(*child.vm, copies.store(), again));
  auto grandchild =
      copies.restore("sb-grandchild", second.state, second.state.pages(),
                     {copies.snapshot().disk(), order.capture.freeze->layer, again.capture.freeze->layer});
  CHECK(grandchild.ask("read", "\n") == "child\n");
  end(parent);
  end(child);
  end(grandchild);
}

TEST_CASE("a save that cannot be written leaves the VM running on its disk", "[restore]") {
  NANOBOX_NEEDS_KERNEL();
  Copies copies;
  auto one = copies.restore("sb-one");
  one.ask("write kept", "written");
  auto order = copies.order_for(copies.snapshot().memory(), copies.overlay_of("sb-one"), "lost");
  order.capture.goes_on = false;
  order.disk_layer = "/proc/no/such/folder/disk.qcow2";

  const auto saved = save(*one.vm, copies.store(), order);

  REQUIRE_FALSE(saved);
  CHECK_FALSE(fs::exists(order.saved.folder));
  CHECK(fs::is_empty(copies.lab().data() / "snapshots/.tmp"));
  CHECK(one.ask("read", "\n") == "kept\n");
  end(one);
}

TEST_CASE("the disk of a copy grows while it runs", "[restore]") {
  NANOBOX_NEEDS_KERNEL();
  Copies copies;
  auto one = copies.restore("sb-one");
  must(one.vm->grow_disk(std::uint64_t{64} << 20));
  one.ask("write grown", "written");
  end(one);
  CHECK(must(overlay_size(copies.overlay_of("sb-one"))) == std::uint64_t{64} << 20);
}

TEST_CASE("an empty VMM maps its memory privately, and ends with its handle", "[restore]") {
  NANOBOX_NEEDS_KERNEL();
  Copies copies;
  auto empty = must(copies.prepare("st-one", copies.snapshot().memory()));
  const auto identity = empty->identity();
  CHECK(process_lives(identity));
  CHECK(text_of("/proc/" + std::to_string(identity.pid) + "/maps").find("rw-s") == std::string::npos);
  CHECK_FALSE(empty->has_ended());
  empty.reset();
  CHECK_FALSE(process_lives(identity));
}

TEST_CASE("a state that is missing or no state is refused, and its VMM is of no more use", "[restore]") {
  NANOBOX_NEEDS_KERNEL();
  Copies copies;
  const auto overlay = copies.lab().data() / "o.qcow2";
  must(create_empty_overlay(overlay, copies.snapshot().disk_bytes, "below", "qcow2"));
  VmState state{.state = copies.lab().data() / "nothing",
                .memory_layer = {},
                .base_image = copies.lab().base(),
                .disk_layers = {copies.snapshot().disk()},
                .overlay = overlay};
  Log log;
  auto empty = must(copies.prepare("st-one", copies.snapshot().memory()));
  auto restored = copies.driver().restore(*empty, state, log.events());
  REQUIRE_FALSE(restored);
  CHECK(restored.error().code == ErrorCode::snapshot_invalid);

  std::ofstream(state.state) << "this is no state at all, but long enough to be read as one";
  auto other = must(copies.prepare("st-two", copies.snapshot().memory()));
  restored = copies.driver().restore(*other, state, log.events());
  REQUIRE_FALSE(restored);
}

TEST_CASE("a VMM that took a state beforehand goes on from it, and from no other", "[restore]") {
  NANOBOX_NEEDS_KERNEL();
  Copies copies;
  const auto& snapshot = copies.snapshot();
  auto waiting = must(copies.prepare("sb-one", snapshot.memory(), snapshot.state()));
  CHECK_FALSE(waiting->has_ended());
  auto one = copies.restore("sb-one", *waiting, snapshot, {}, {snapshot.disk()});
  CHECK(one.ask("read", "\n") == "template\n");
  one.ask("write one", "written");
  CHECK(one.ask("read", "\n") == "one\n");
  end(one);

  auto loaded = must(copies.prepare("st-two", snapshot.memory(), snapshot.state()));
  Log log;
  const auto restored = copies.driver().restore(*loaded,
                                                {.state = copies.lab().data() / "another",
                                                 .memory_layer = {},
                                                 .base_image = copies.lab().base(),
                                                 .disk_layers = {snapshot.disk()},
                                                 .overlay = copies.overlay_of("st-two")},
                                                log.events());
  REQUIRE_FALSE(restored);
  CHECK(restored.error().code == ErrorCode::internal);

  const auto broken = copies.lab().data() / "broken";
  std::ofstream(broken) << "this is no state at all, but long enough to be read as one";
  CHECK_FALSE(copies.prepare("st-three", snapshot.memory(), broken));
}

TEST_CASE("memory of another size is refused before a VMM is started for it", "[restore]") {
  NANOBOX_NEEDS_KERNEL();
  Copies copies;
  const auto small = copies.lab().data() / "small";
  std::ofstream(small).close();
  fs::resize_file(small, 4096);
  const auto empty = copies.prepare("st-one", small);
  REQUIRE_FALSE(empty);
  CHECK(empty.error().code == ErrorCode::snapshot_invalid);
}
