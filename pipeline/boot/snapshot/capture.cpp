#include "pipeline/boot/snapshot/capture.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include <future>

#include "config/stopwatch.hpp"
#include "pipeline/boot/disk/overlay.hpp"
#include "pipeline/boot/memory/flat_memory.hpp"
#include "pipeline/boot/memory/guest_memory.hpp"
#include "pipeline/boot/memory/memory_layer.hpp"

namespace nanobox {

namespace fs = std::filesystem;

namespace {

Result<UniqueFd> open_written(const fs::path& path) {
  UniqueFd file(open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
  if (!file) return fail(errno_error(errno, "open", path));
  return file;
}

Result<void> rename_file(const fs::path& from, const fs::path& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) return fail(errno_error(errno, "move to " + to.string(), from));
  return {};
}

Result<void> sync_path(const fs::path& path, int flags) {
  const UniqueFd file(open(path.c_str(), flags | O_CLOEXEC));
  if (!file || fsync(file.get()) != 0) return fail(errno_error(errno, "sync", path));
  return {};
}

/// The moves of a freeze, taken back unless kept.
class FrozenFiles {
public:
  /// The VM holds its overlay open: from here on its name is the layer's, whatever comes.
  static Result<FrozenFiles> make(const DiskFreeze& freeze) {
    auto next = freeze.overlay;
    next += ".next";
    std::error_code ignored;
    fs::remove(next, ignored);
    const auto size = NANOBOX_TRY(overlay_size(freeze.overlay));
    NANOBOX_TRY(create_empty_overlay(next, size, freeze.layer.filename(), "qcow2"));
    NANOBOX_TRY(rename_file(freeze.overlay, freeze.layer));
    FrozenFiles files(freeze);
    NANOBOX_TRY(rename_file(next, freeze.overlay));
    files.next_ = NANOBOX_TRY(open_written(freeze.overlay));
    return files;
  }
  FrozenFiles(FrozenFiles&& other) noexcept
      : freeze_(std::move(other.freeze_)), next_(std::move(other.next_)), kept_(std::exchange(other.kept_, true)) {}
  FrozenFiles& operator=(FrozenFiles&&) = delete;
  ~FrozenFiles() {
    if (!kept_) ::rename(freeze_.layer.c_str(), freeze_.overlay.c_str());
  }
  UniqueFd take_next() { return std::move(next_); }
  void keep() { kept_ = true; }

private:
  explicit FrozenFiles(DiskFreeze freeze) : freeze_(std::move(freeze)) {}
  DiskFreeze freeze_;
  UniqueFd next_;
  bool kept_ = false;
};

/// Lets the vCPUs run again when what is done while they stand still fails.
class Standstill {
public:
  static Result<Standstill> begin(Vm& vm) {
    Standstill standstill(vm);
    NANOBOX_TRY(vm.stop());
    return standstill;
  }
  Standstill(Standstill&& other) noexcept : vm_(std::exchange(other.vm_, nullptr)) {}
  Standstill& operator=(Standstill&&) = delete;
  ~Standstill() {
    if (vm_ != nullptr) (void)vm_->cont();
  }
  Result<void> end() { return std::exchange(vm_, nullptr)->cont(); }
  void keep() { vm_ = nullptr; }

private:
  explicit Standstill(Vm& vm) : vm_(&vm) {}
  Vm* vm_;
};

Result<void> write_state(int memory_file, const fs::path& path, bool durable) {
  struct stat size {};
  if (fstat(memory_file, &size) != 0) return fail(errno_error(errno, "read the VM's state", path));
  const UniqueFd file(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!file) return fail(errno_error(errno, "write", path));
  off_t at = 0;
  while (at < size.st_size) {
    const auto sent = sendfile(file.get(), memory_file, &at, static_cast<std::size_t>(size.st_size - at));
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return fail(errno_error(sent < 0 ? errno : EIO, "write", path));
  }
  if (durable && fsync(file.get()) != 0) return fail(errno_error(errno, "sync", path));
  return {};
}

/// Frees the folder of what a failure left in it.
class HalfMade {
public:
  explicit HalfMade(const fs::path& folder) : folder_(folder) {}
  HalfMade(const HalfMade&) = delete;
  HalfMade& operator=(const HalfMade&) = delete;
  ~HalfMade() {
    if (kept_) return;
    for (const auto* name : {"state", "pages", "mem"}) ::unlink((folder_ / name).c_str());
  }
  void keep() { kept_ = true; }

private:
  const fs::path& folder_;
  bool kept_ = false;
};

/// @returns allocated bytes
Result<std::uint64_t> write_files(const CaptureOrder& order, int state, const MemoryContents& contents) {
  NANOBOX_TRY(write_state(state, order.folder / "state", order.durable));
  if (order.whole_memory)
    NANOBOX_TRY(write_memory_file(order.folder / "mem", contents, order.durable));
  else
    NANOBOX_TRY(write_memory_layer(order.folder / "pages", contents, order.durable));
  if (order.durable) {
    for (const auto& overlay : order.disk) NANOBOX_TRY(sync_path(overlay, O_RDONLY));
    NANOBOX_TRY(sync_path(order.folder, O_RDONLY | O_DIRECTORY));
  }
  std::uint64_t bytes = 0;
  for (const auto* name : {"state", "pages", "mem"}) {
    struct stat file {};
    if (stat((order.folder / name).c_str(), &file) == 0) bytes += static_cast<std::uint64_t>(file.st_blocks) * 512;
  }
  return bytes;
}

}  // namespace

Result<Captured> capture(Vm& vm, const CaptureOrder& order) {
  Captured captured;
  HalfMade half_made(order.folder);
  std::optional<MemoryLayer> older;
  if (!order.memory_layer.empty()) older = NANOBOX_TRY(open_memory_layer(order.memory_layer));
  auto memory = NANOBOX_TRY(GuestMemory::open(vm.identity().pid, order.memory_base, order.memory_bytes));
  // Faulted in while the guest still runs: most of the copy's time is that of new memory.
  const auto expected = count_pages(NANOBOX_TRY(memory.dirty_pages()));
  auto pages = NANOBOX_TRY(PageBuffer::create((expected + expected / 8 + 256) * page_bytes));
  const UniqueFd state(memfd_create("state", MFD_CLOEXEC));
  if (!state) return fail(errno_error(errno, "make memory for", "a VM's state"));
  std::optional<FrozenFiles> frozen;
  if (order.freeze) frozen.emplace(NANOBOX_TRY(FrozenFiles::make(*order.freeze)));

  std::vector<PageRun> dirty;
  std::optional<Standstill> standstill;
  {
    const Stopwatch pause(captured.pause_us);
    {
      const Stopwatch watch(captured.stop_us);
      standstill.emplace(NANOBOX_TRY(Standstill::begin(vm)));
    }
    auto copied = std::async(std::launch::async, [&]() -> Result<void> {
      {
        const Stopwatch watch(captured.scan_us);
        dirty = NANOBOX_TRY(memory.dirty_pages());
      }
      const Stopwatch watch(captured.copy_us);
      return memory.read(dirty, pages);
    });
    const auto saved = [&]() -> Result<void> {
      const Stopwatch watch(captured.state_us);
      UniqueFd target(fcntl(state.get(), F_DUPFD_CLOEXEC, 0));
      if (!target) return fail(errno_error(errno, "write", "a VM's state"));
      return vm.save_state(std::move(target));
    }();
    const auto memory_read = copied.get();
    NANOBOX_TRY(saved);
    NANOBOX_TRY(memory_read);
    if (frozen) {
      const Stopwatch watch(captured.disk_us);
      NANOBOX_TRY(vm.freeze_disk(frozen->take_next()));
      frozen->keep();
    }
    if (order.goes_on) {
      const Stopwatch watch(captured.cont_us);
      NANOBOX_TRY(standstill->end());
    }
  }
  captured.dirty_bytes = count_pages(dirty) * page_bytes;
  const MemoryContents contents{.memory_bytes = order.memory_bytes,
                                .base = order.memory_base,
                                .older = older ? &*older : nullptr,
                                .runs = dirty,
                                .pages = std::as_const(pages).bytes()};
  captured.written_bytes = NANOBOX_TRY([&]() -> Result<std::uint64_t> {
    const Stopwatch watch(captured.write_us);
    return write_files(order, state.get(), contents);
  }());
  half_made.keep();
  if (!order.goes_on) standstill->keep();
  return captured;
}

}  // namespace nanobox
