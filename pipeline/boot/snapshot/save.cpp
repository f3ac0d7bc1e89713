#include "pipeline/boot/snapshot/save.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include "pipeline/boot/disk/overlay.hpp"

namespace nanobox {

namespace fs = std::filesystem;

namespace {

Result<void> make_parent(const fs::path& file) {
  std::error_code error;
  fs::create_directories(file.parent_path(), error);
  if (error) return fail(errno_error(error.value(), "make folder", file.parent_path()));
  return {};
}

/// Also to another file system. The VM that has it open does not write any more.
Result<void> move_file(const fs::path& from, const fs::path& to) {
  if (::rename(from.c_str(), to.c_str()) == 0) return {};
  if (errno != EXDEV) return fail(errno_error(errno, "move to " + to.string(), from));
  std::error_code error;
  fs::copy_file(from, to, error);
  if (error) return fail(errno_error(error.value(), "copy to " + to.string(), from));
  return {};
}

/// What is finished is nobody's: whose VMM cold-boots from it reads it by its path.
Result<void> let_all_read(const fs::path& file) {
  if (::chown(file.c_str(), ::geteuid(), ::getegid()) != 0 || ::chmod(file.c_str(), 0444) != 0)
    return fail(errno_error(errno, "make read-only", file));
  return {};
}

Result<void> finish(SnapshotStore& store, HalfFolder half, const SaveOrder& order, SavedState& saved) {
  if (!order.flatten.empty()) {
    NANOBOX_TRY(make_parent(order.flattened));
    NANOBOX_TRY(flatten_overlays(order.flattened, order.flatten, saved.disk_bytes, "base", order.capture.durable));
    NANOBOX_TRY(let_all_read(order.flattened));
  }
  if (order.disk_into_folder) {
    NANOBOX_TRY(move_file(order.capture.disk.back(), half.path() / "disk.qcow2"));
    NANOBOX_TRY(let_all_read(half.path() / "disk.qcow2"));
  }
  if (order.manifest) {
    saved.folder = half.path();
    NANOBOX_TRY(write_manifest(saved, order.capture.durable));
    saved.folder = order.saved.folder;
  }
  if (!order.disk_layer.empty()) NANOBOX_TRY(make_parent(order.disk_layer));
  NANOBOX_TRY(store.publish(std::move(half), order.saved.folder, order.capture.durable));
  if (order.disk_layer.empty()) return {};
  if (::rename(order.capture.disk.back().c_str(), order.disk_layer.c_str()) != 0) {
    const int number = errno;
    store.drop(order.saved.folder);
    return fail(errno_error(number, "move to " + order.disk_layer.string(), order.capture.disk.back()));
  }
  return {};
}

}  // namespace

Result<Saved> save(Vm& vm, SnapshotStore& store, const SaveOrder& order) {
  auto half = NANOBOX_TRY(store.begin());
  auto wanted = order.capture;
  wanted.folder = half.path();
  if (wanted.freeze) NANOBOX_TRY(make_parent(wanted.freeze->layer));
  Saved saved;
  saved.captured = NANOBOX_TRY(capture(vm, wanted));
  saved.state = order.saved;
  saved.state.taken_at = wall_now();
  auto finished = finish(store, std::move(half), order, saved.state);
  if (finished) return saved;
  if (!wanted.goes_on) (void)vm.cont();
  std::error_code ignored;
  if (!order.flattened.empty()) fs::remove(order.flattened, ignored);
  return fail(finished.error());
}

}  // namespace nanobox
