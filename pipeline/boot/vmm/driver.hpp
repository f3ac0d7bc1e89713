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
#include <string_view>
#include <utility>
#include <vector>

#include "config/error.hpp"
#include "config/unique_fd.hpp"

namespace nanobox {

enum class VmmKind : std::uint8_t { firecracker = 1, qemu_kvm, qemu_tcg };

/// "firecracker", "qemu-kvm", "qemu-tcg": as in the API's `vmm`.
std::string_view to_string(VmmKind kind);

/// A VM's network interface: descriptors that are open while the call lasts.
struct VmInterface {
  int network_namespace = -1;  ///< that the VMM lives in
  int tap = -1;                ///< with the virtio-net header before each frame
};

/// What a VM is made of. The disk, memory file and folders exist already; the driver makes nothing outside `run_dir`.
struct VmSpec {
  std::string sandbox_id;
  std::uint32_t vcpu = 1;
  std::uint32_t memory_mb = 512;
  std::filesystem::path kernel;
  std::string boot_args;             ///< `[firecracker] boot_args`; the driver appends what its machine needs
  std::filesystem::path base_image;  ///< the template's ext4, raw, read-only
  std::vector<std::filesystem::path> disk_layers = {};  ///< qcow2, read-only, between the two, bottom first
  std::filesystem::path overlay;                        ///< the sandbox's own qcow2 on them
  std::filesystem::path memory_file;                    ///< sparse, exactly memory_mb MiB; mapped privately
  std::filesystem::path run_dir;  ///< DATA/run/<short id>: sockets; short, for sun_path has 108 bytes
  std::uint32_t uid = 0;          ///< the VMM's own user and group id
  bool idles_long = false;        ///< it, or copies of it: a slower boot is worth an idle guest that rarely wakes
  std::optional<VmInterface> interface = {};  ///< where the driver makes machines with one
};

/// What a VMM is made of that waits for a guest: for its state and overlay, or, where all copies have the state in
/// common, for its overlay alone.
struct EmptyVmmSpec {
  std::string id;  ///< under which its lease and folder are noted
  std::uint32_t vcpu = 1;
  std::uint32_t memory_mb = 512;
  std::filesystem::path memory_file;      ///< the state's base memory, exactly memory_mb MiB; mapped privately
  std::filesystem::path base_image = {};  ///< of the state's disk; empty: not known yet
  std::vector<std::filesystem::path> disk_layers = {};  ///< the first of the state's
  std::filesystem::path state = {};    ///< that it takes now; empty: it comes later, with the rest of the disk
  std::filesystem::path overlay = {};  ///< the VM's own, on `disk_layers`: with `state` only
  std::filesystem::path run_dir;       ///< as VmSpec's
  std::uint32_t uid = 0;
  std::optional<VmInterface> interface = {};  ///< as VmSpec's
};

/// A saved state with all that belongs to it. The files are opened here and passed on.
struct VmState {
  std::filesystem::path state;                          ///< devices and vCPUs
  std::filesystem::path memory_layer;                   ///< pages over the base memory; empty: none
  std::filesystem::path base_image;                     ///< raw
  std::vector<std::filesystem::path> disk_layers = {};  ///< qcow2, read-only, bottom first
  std::filesystem::path overlay;                        ///< the new VM's own qcow2 on them
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
  virtual VmIdentity identity() const = 0;
  /// It is another sandbox' from now on, and its folder has moved there.
  virtual void become(const std::string& id, const std::filesystem::path& run_dir) = 0;
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
  // The following block for as long as the VMM takes to answer: worker threads only. @errors vmm_failed · guest_gone

  /// Stops and continues the vCPUs. While they stand still nothing is written to the disk.
  virtual Result<void> stop() = 0;
  virtual Result<void> cont() = 0;
  /// Of a stopped VM: writes the devices' and vCPUs' state, without the memory, to `file`.
  virtual Result<void> save_state(UniqueFd file) = 0;
  /// Of a stopped VM: its overlay is read from now on, and `overlay`, an empty qcow2 of the same size, takes what is
  /// written.
  virtual Result<void> freeze_disk(UniqueFd overlay) = 0;
  /// The disk gets larger for the guest, which learns it by an interrupt.
  virtual Result<void> grow_disk(std::uint64_t bytes) = 0;
  /// Lets a guest go on that on_disk_error(nospace) stopped, once there is space again. Does not block.
  virtual void resume_after_disk_error() {}
  /// Ends it now (SIGKILL by pidfd, and all of its cgroup); on_exit follows. Does not block. Idempotent.
  virtual void end() = 0;
};

/// A spawned VMM whose memory is mapped, without disk, and mostly without state. Destroying it ends it, unless it
/// became a VM.
class EmptyVmm {
public:
  virtual ~EmptyVmm() = default;
  virtual VmIdentity identity() const = 0;
  virtual bool has_ended() const = 0;
  /// As Vm::become.
  virtual void become(const std::string& id, const std::filesystem::path& run_dir) = 0;
};

/// A VM that took a state, and how long its parts took, in microseconds.
struct RestoredVm {
  std::unique_ptr<Vm> vm;
  std::int64_t layer_us = 0;  ///< the memory's layer was mapped
  std::int64_t state_us = 0;  ///< the disk was put together and the devices' state loaded
  std::int64_t cont_us = 0;   ///< the vCPUs were started
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
  /// What a saved state depends on beside its files: VMM and its version, processor, devices, kernel's command line.
  /// A state is never restored by a driver of another fingerprint.
  virtual std::string fingerprint(std::uint32_t vcpu, std::string_view boot_args) const = 0;
  /// The host's TSC in kHz, which an emulated guest takes for its own; nothing where there is none.
  virtual std::optional<std::uint64_t> tsc_khz() const = 0;
  /// Starts a VMM that waits. @errors as `start` · snapshot_invalid (a file is missing or broken)
  virtual Result<std::unique_ptr<EmptyVmm>> prepare(const EmptyVmmSpec& spec) = 0;
  /// Gives a state to a VMM of the same size, memory file and fingerprint, or what is left to give of that which it
  /// took already. Its vCPUs run when this returns. After a failure the VMM is of no use.
  /// @errors vmm_failed · guest_gone (it had ended) · snapshot_invalid (a file of the state is missing or broken)
  virtual Result<RestoredVm> restore(EmptyVmm& vmm, const VmState& state, VmEvents events) = 0;
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
