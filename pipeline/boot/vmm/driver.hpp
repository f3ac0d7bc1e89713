#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "config/error.hpp"

namespace nanobox {

enum class VmmKind : std::uint8_t { firecracker = 1, qemu_kvm, qemu_tcg };

/// "firecracker", "qemu-kvm", "qemu-tcg": as in the API's `vmm`.
std::string_view to_string(VmmKind kind);

/// What a VM is made of. The disk, memory file and folders exist already; the driver makes nothing outside `run_dir`.
struct VmSpec {
  std::string sandbox_id;
  std::uint32_t vcpu = 1;
  std::uint32_t memory_mb = 512;
  std::filesystem::path kernel;
  std::string boot_args;              ///< `[firecracker] boot_args`; the driver appends what its machine needs
  std::filesystem::path base_image;   ///< the template's ext4, raw, read-only
  std::filesystem::path overlay;      ///< the sandbox's own qcow2 on it
  std::filesystem::path memory_file;  ///< sparse, exactly memory_mb MiB; mapped privately
  std::filesystem::path run_dir;      ///< DATA/run/<short id>: sockets; short, for sun_path has 108 bytes
  std::uint32_t uid = 0;              ///< the VMM's own user and group id
};

/// User ids, both ends included.
struct UidRange {
  std::uint32_t first = 0;
  std::uint32_t last = 0;
};

/// What survives the daemon, so that a living VM can be adopted. Stored as JSON (see `to_json`/`from_json`).
struct VmIdentity {
  std::string sandbox_id;
  VmmKind kind = VmmKind::qemu_tcg;
  std::string boot_id;  ///< /proc/sys/kernel/random/boot_id
  std::int32_t pid = 0;
  std::uint64_t start_time_ticks = 0;  ///< /proc/PID/stat field 22
  std::string uuid;                    ///< QMP query-uuid
  std::string vmm_digest;              ///< DATA/vmm/<digest>
  std::string run_dir;
  std::int32_t parent_pid = 0;  ///< the tiny parent that keeps the exit status
  std::uint64_t parent_start_time_ticks = 0;
  std::string cgroup;  ///< empty where only rlimits hold
};

std::string to_json(const VmIdentity& identity);
Result<VmIdentity> vm_identity_from_json(std::string_view json);

/// How a VM ended.
struct VmExit {
  std::optional<int> exit_code;  ///< where it is known (our own children, or from the tiny parent)
  std::optional<int> signal;
  bool guest_panicked = false;  ///< the console says so
  bool guest_rebooted = false;  ///< the guest asked to end (QMP SHUTDOWN)
  std::string reason;           ///< a sentence for people
};

/// Called from a poller thread, one at a time for one VM, never after ~Vm returned. Must not block.
struct VmEvents {
  std::function<void()> on_ready;                              ///< NANOBOX_READY was seen on the console
  std::function<void(std::span<const std::byte>)> on_channel;  ///< bytes of the guest channel; see Vm::grant_channel
  std::function<void()> on_channel_writable;                   ///< the queue of Vm::send_channel fell below its mark
  std::function<void(bool nospace)> on_disk_error;             ///< BLOCK_IO_ERROR
  std::function<void(std::span<const std::byte>)> on_console;  ///< for followers; may be empty
  std::function<void(VmExit)> on_exit;                         ///< once, last
};

/// A running VMM process and its sockets. Destroying it lets go without killing. Thread-safe.
class Vm {
public:
  virtual ~Vm() = default;
  virtual const VmIdentity& identity() const = 0;
  /// Queues bytes for the guest channel, always; false when the queue is over its mark now (then wait for
  /// on_channel_writable before sending more), or the VM has ended.
  virtual bool send_channel(std::vector<std::byte> bytes) = 0;
  /// Bytes that wait for the guest to read its channel.
  virtual std::size_t channel_queued() const = 0;
  /// Back-pressure: the poller reads from the channel only while the bytes delivered exceed the bytes granted by
  /// less than 1 MiB. Call with what has been digested.
  virtual void grant_channel(std::size_t bytes) = 0;
  /// The console's last bytes, at most `max` (kept: 1 MiB).
  virtual std::string console_tail(std::size_t max) const = 0;
  /// As ConsoleRing::since.
  virtual std::pair<std::string, std::uint64_t> console_since(std::uint64_t offset, std::size_t max) const = 0;
  /// Lets a guest go on that on_disk_error(nospace) stopped, once there is space again. Does not block.
  virtual void resume_after_disk_error() {}
  /// Ends it now (SIGKILL by pidfd, and all of its cgroup); on_exit follows. Does not block. Idempotent.
  virtual void end() = 0;
};

/// What a host can do with a kind of VMM, learnt by doing (a tiny guest with a deadline), for `doctor`.
struct VmmProbe {
  VmmKind kind = VmmKind::qemu_tcg;
  bool usable = false;
  std::string version;
  std::string reason;  ///< why not, or what was seen
  std::string mend;
};

/// One kind of VMM. Calls may block (spawn): worker threads only.
class VmmDriver {
public:
  virtual ~VmmDriver() = default;
  virtual VmmKind kind() const = 0;
  /// @param stop  asked for while the VMM does not answer yet, it ends the VMM
  /// @errors vmm_missing · vmm_failed (with the VMM's own words) · kernel_missing · no_capacity · cancelled
  virtual Result<std::unique_ptr<Vm>> start(const VmSpec& spec, VmEvents events, const std::stop_token& stop = {}) = 0;
  /// Takes a VM of an earlier daemon: checks boot id, pid, start time, uuid; reconnects its sockets.
  /// @errors guest_gone when it is not there any more
  virtual Result<std::unique_ptr<Vm>> adopt(const VmIdentity& identity, VmEvents events) = 0;
  /// Removes what a VM that is not there any more left on the host. @errors io_failed
  virtual Result<void> clean_up(const VmIdentity& identity) = 0;
  /// Ends and removes what VMMs of this data folder left in cgroups, but for those in `keep`.
  /// @returns how many there were @errors io_failed
  virtual Result<std::size_t> remove_leftovers(std::span<const VmIdentity> keep) = 0;
};

}  // namespace nanobox
