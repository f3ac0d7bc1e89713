#pragma once

#include <stdlib.h>

#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <stdexcept>

#include "config/child_process.hpp"
#include "pipeline/boot/vmm/proc_identity.hpp"
#include "pipeline/boot/vmm/qemu/qemu_driver.hpp"

namespace nanobox::test {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

/// The guest kernel for tests; empty where none was named.
inline fs::path guest_kernel() {
  const char* path = std::getenv("NANOBOX_KERNEL");
  return path != nullptr ? path : "";
}

template <class T>
T must(Result<T> result) {
  if (!result) throw std::runtime_error(describe(result.error()));
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

inline void must_run(const Command& command) {
  const auto output = must(run_command(command, 60s));
  if (!output.exit.succeeded()) throw std::runtime_error(command.program.string() + ": " + output.err);
}

/// A folder that goes with its object.
class Folder {
public:
  Folder() {
    std::string path = "/tmp/nbvm-XXXXXX";
    if (mkdtemp(path.data()) == nullptr) throw std::runtime_error("mkdtemp");
    fs::permissions(path, static_cast<fs::perms>(0755));
    path_ = path;
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  const fs::path& path() const { return path_; }

private:
  fs::path path_;
};

/// What a VM tells, to be waited for.
class Log {
public:
  VmEvents events() {
    return {.on_ready = [this] { note([this] { ready_ = true; }); },
            .on_channel =
                [this](std::span<const std::byte> bytes) {
                  note([&] { channel_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size()); });
                },
            .on_channel_writable = [this] { note([this] { ++writable_; }); },
            .on_disk_error = [this](bool nospace) { note([&] { disk_errors_ += nospace ? 1 : 1000; }); },
            .on_console = {},
            .on_exit = [this](VmExit exit) { note([&] { exit_ = std::move(exit); }); }};
  }
  bool wait_ready(std::chrono::seconds patience = 30s) {
    return wait(patience, [this] { return ready_ || exit_; }) && ready_;
  }
  bool wait_text(const std::string& text, std::chrono::seconds patience = 30s) {
    return wait(patience, [&] { return channel_.find(text) != std::string::npos; });
  }
  bool wait_bytes(std::size_t count, std::chrono::milliseconds patience = 60s) {
    return wait(patience, [&] { return channel_.size() >= count; });
  }
  bool wait_writable(std::chrono::seconds patience = 30s) {
    return wait(patience, [&] { return writable_ > 0; });
  }
  /// Waits for a host disk that is full.
  bool wait_full_disk(std::chrono::seconds patience = 30s) {
    return wait(patience, [this] { return disk_errors_ > 0; }) && disk_errors_ < 1000;
  }
  std::optional<VmExit> wait_exit(std::chrono::seconds patience = 30s) {
    wait(patience, [this] { return exit_.has_value(); });
    return exit_;
  }
  std::size_t channel_bytes() {
    const std::lock_guard lock(mutex_);
    return channel_.size();
  }
  std::string take_channel() {
    const std::lock_guard lock(mutex_);
    return std::exchange(channel_, {});
  }
  int seen() {
    const std::lock_guard lock(mutex_);
    return seen_;
  }

private:
  template <class Change>
  void note(Change change) {
    const std::lock_guard lock(mutex_);
    change();
    ++seen_;
    changed_.notify_all();
  }
  template <class Predicate>
  bool wait(std::chrono::milliseconds patience, Predicate predicate) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, patience, predicate);
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  bool ready_ = false;
  int writable_ = 0, disk_errors_ = 0, seen_ = 0;
  std::string channel_;
  std::optional<VmExit> exit_;
};

/// A data folder with a template's disk whose init is guest/init.c, and a driver.
class Lab {
public:
  explicit Lab(fs::path data) : data_(std::move(data)) {
    base_ = data_ / "base.ext4";
    if (!fs::exists(base_)) make_base();
  }

  static VmmKind kind() { return VmmKind::qemu_tcg; }

  std::unique_ptr<VmmDriver> driver() {
    return must(make_qemu_driver({.kind = kind(),
                                  .data_folder = data_,
                                  .binary = {},
                                  .pollers = must(PollerSet::start()),
                                  .confinement = must(ConfinementHost::detect(data_, VMM_TEST_PARENT))}));
  }

  VmSpec spec(const std::string& id, std::uint32_t uid = 70'001) const {
    const auto folder = data_ / id;
    fs::create_directories(folder / "run");
    VmSpec spec{.sandbox_id = id,
                .vcpu = 1,
                .memory_mb = 128,
                .kernel = guest_kernel(),
                .boot_args = "console=ttyS0 reboot=k panic=1 pci=off init=/sbin/nanobox-init",
                .base_image = base_,
                .overlay = folder / "disk.qcow2",
                .memory_file = folder / "mem",
                .run_dir = folder / "run",
                .uid = uid};
    if (!fs::exists(spec.overlay)) {
      must_run({.program = "qemu-img",
                .arguments = {"create", "-q", "-f", "qcow2", "-F", "raw", "-b", base_, spec.overlay},
                .env = {},
                .descriptors = {}});
      std::ofstream(spec.memory_file).close();
      fs::resize_file(spec.memory_file, std::uint64_t{spec.memory_mb} << 20);
    }
    return spec;
  }

  const fs::path& data() const { return data_; }
  const fs::path& base() const { return base_; }

private:
  void make_base() const {
    const auto root = data_ / "root";
    fs::create_directories(root / "sbin");
    fs::create_directories(root / "dev");
    fs::copy_file(VMM_TEST_INIT, root / "sbin/nanobox-init");
    must_run({.program = "mke2fs",
              .arguments = {"-q", "-t", "ext4", "-d", root, base_, "16M"},
              .env = {{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}},
              .descriptors = {}});
  }

  fs::path data_;
  fs::path base_;
};

inline void say(Vm& vm, const std::string& line) {
  const auto bytes = std::as_bytes(std::span(line));
  std::vector<std::byte> out(bytes.begin(), bytes.end());
  out.push_back(std::byte{'\n'});
  vm.send_channel(std::move(out));
}

/// A zombie does not live: its reaping is its parent's matter.
inline bool process_lives(std::int32_t pid) {
  return start_time_ticks(pid).has_value();
}
inline bool process_lives(const VmIdentity& identity) {
  return process_lives(identity.pid);
}

}  // namespace nanobox::test

/// Leaves a test, visibly, where there is no kernel to boot.
#define NANOBOX_NEEDS_KERNEL()                                \
  do {                                                        \
    if (nanobox::test::guest_kernel().empty()) {              \
      WARN("skipped: $NANOBOX_KERNEL names no guest kernel"); \
      return;                                                 \
    }                                                         \
  } while (false)
