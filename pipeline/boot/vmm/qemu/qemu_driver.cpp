#include "pipeline/boot/vmm/qemu/qemu_driver.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pipeline/boot/vmm/host_clock.hpp"
#include "pipeline/boot/vmm/kernel_arguments.hpp"
#include "pipeline/boot/vmm/memory_check.hpp"
#include "pipeline/boot/vmm/qemu/qemu_arguments.hpp"
#include "pipeline/boot/vmm/qemu/qemu_vm.hpp"
#include "pipeline/boot/vmm/vm_exit_reason.hpp"
#include "pipeline/boot/vmm/vm_process.hpp"
#include "pipeline/boot/vmm/vm_sockets.hpp"
#include "pipeline/boot/vmm/vmm_pin.hpp"

namespace nanobox {

namespace fs = std::filesystem;

namespace {

constexpr std::chrono::seconds start_deadline{30};
constexpr std::chrono::seconds adopt_deadline{10};
constexpr std::chrono::seconds exit_patience{5};
constexpr std::string_view qmp_name = "qmp", channel_name = "ch", console_name = "con";

Error start_error(ErrorCode code, std::string subject, std::string reason, std::string mend = "") {
  return {.code = code,
          .attempted = "start the VM",
          .subject = std::move(subject),
          .reason = std::move(reason),
          .mend = std::move(mend)};
}

std::string random_uuid() {
  std::array<unsigned char, 16> bytes{};
  while (getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
  }
  bytes[6] = static_cast<unsigned char>((bytes[6] & 0x0F) | 0x40);
  bytes[8] = static_cast<unsigned char>((bytes[8] & 0x3F) | 0x80);
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    text += "0123456789abcdef"[bytes[i] >> 4];
    text += "0123456789abcdef"[bytes[i] & 15];
  }
  return text;
}

/// The size of the disk a qcow2 file holds (its header's bytes 24 to 31).
Result<std::uint64_t> disk_bytes(const fs::path& overlay) {
  const UniqueFd file(open(overlay.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  std::array<unsigned char, 32> header{};
  if (!file) return fail(errno_error(errno, "open the sandbox's disk", overlay));
  if (pread(file.get(), header.data(), header.size(), 0) != static_cast<ssize_t>(header.size()) || header[0] != 'Q' ||
      header[1] != 'F' || header[2] != 'I' || header[3] != 0xFB)
    return fail(start_error(ErrorCode::io_failed, overlay, "it is no qcow2 file"));
  std::uint64_t size = 0;
  for (std::size_t i = 24; i < 32; ++i) size = size << 8 | header[i];
  return size;
}

Result<void> check_spec(const VmSpec& spec, const QemuSettings& settings) {
  if (spec.vcpu < 1 || spec.vcpu > 64)
    return fail(start_error(ErrorCode::invalid_value, "vcpu", "it is " + std::to_string(spec.vcpu), "use 1 to 64"));
  if (settings.uids && (spec.uid < settings.uids->first || spec.uid > settings.uids->last))
    return fail(start_error(ErrorCode::no_capacity, "uid " + std::to_string(spec.uid),
                            "it is outside of the VMMs' range", "end other sandboxes"));
  struct stat file {};
  if (spec.kernel.empty() || stat(spec.kernel.c_str(), &file) != 0 || !S_ISREG(file.st_mode))
    return fail(start_error(ErrorCode::kernel_missing, spec.kernel, "there is no such file",
                            "build the guest kernel, or set firecracker.kernel"));
  if (stat(spec.base_image.c_str(), &file) != 0)
    return fail(errno_error(errno, "open the template's disk", spec.base_image));
  if (stat(spec.memory_file.c_str(), &file) != 0)
    return fail(errno_error(errno, "open the guest's memory", spec.memory_file));
  if (static_cast<std::uint64_t>(file.st_size) != std::uint64_t{spec.memory_mb} << 20)
    return fail(start_error(ErrorCode::internal, spec.memory_file, "its size is not the guest's memory"));
  return {};
}

/// Gives the disk to the VMM's own user; all else it only reads.
Result<void> give_files(const VmSpec& spec) {
  const UniqueFd disk(open(spec.overlay.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!disk || fchown(disk.get(), spec.uid, spec.uid) != 0 || fchmod(disk.get(), 0600) != 0)
    return fail(errno_error(errno, "give the disk to the VMM's user", spec.overlay));
  const UniqueFd memory(open(spec.memory_file.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!memory || fchmod(memory.get(), 0444) != 0) return fail(errno_error(errno, "let the VMM read", spec.memory_file));
  return {};
}

class QemuDriver : public VmmDriver {
public:
  QemuDriver(QemuSettings settings, PinnedVmm pinned) : settings_(std::move(settings)), pinned_(std::move(pinned)) {}

  VmmKind kind() const override { return settings_.kind; }
  Result<std::unique_ptr<Vm>> start(const VmSpec& spec, VmEvents events, const std::stop_token& stop) override;
  Result<std::unique_ptr<Vm>> adopt(const VmIdentity& identity, VmEvents events) override;
  Result<void> clean_up(const VmIdentity& identity) override;
  Result<std::size_t> remove_leftovers(std::span<const VmIdentity> keep) override;

private:
  struct Sockets {
    VmSocket qmp, channel, console;
  };

  VmProcessSpec process_spec(const VmSpec& spec, const std::string& uuid, const std::string& kernel_line,
                             std::uint64_t disk_size, const Sockets& sockets) const;
  Result<QemuConnections> connect(UniqueFd qmp, UniqueFd channel, UniqueFd console,
                                  const std::shared_ptr<QemuControlEvents>& control) const;
  bool has_own_root() const { return settings_.confinement.report.level != ConfinementLevel::minimal; }

  const QemuSettings settings_;
  const PinnedVmm pinned_;
  const HostClock clock_;
};

VmProcessSpec QemuDriver::process_spec(const VmSpec& spec, const std::string& uuid, const std::string& kernel_line,
                                       std::uint64_t disk_size, const Sockets& sockets) const {
  QemuNames names;
  if (!has_own_root())
    names = {.vmm = pinned_.folder,
             .kernel = spec.kernel,
             .disk = spec.overlay,
             .base = spec.base_image,
             .memory = spec.memory_file};
  const QemuDescriptors descriptors;
  using Kind = RootEntry::Kind;
  return {
      .name = "vm-" + uuid.substr(0, 18),
      .program = names.vmm / "ld.so",
      .argv = qemu_arguments(spec, settings_.kind, uuid, kernel_line, names, descriptors),
      .env = qemu_environment(names),
      .root = {{.kind = Kind::folder, .source = pinned_.folder, .target = names.vmm},
               {.kind = Kind::file, .source = spec.kernel, .target = names.kernel},
               {.kind = Kind::file, .source = spec.base_image, .target = names.base},
               {.kind = Kind::file, .source = spec.memory_file, .target = names.memory},
               {.kind = Kind::file, .source = spec.overlay, .target = names.disk, .read_only = false}},
      .descriptors = {{.source = sockets.qmp.listening.get(), .target = descriptors.qmp},
                      {.source = sockets.channel.listening.get(), .target = descriptors.channel},
                      {.source = sockets.console.listening.get(), .target = descriptors.console}},
      .uid = spec.uid,
      .gid = spec.uid,
      .limits = {.cgroup = {.memory_bytes = (std::uint64_t{spec.memory_mb} + tcg_buffer_mb + 64) << 20,
                            .cpu_percent = spec.vcpu * 100 + 25,
                            .max_pids = spec.vcpu + qemu_helper_threads},
                 .max_files = 256,
                 // A full qcow2 is larger than its disk by its tables: some 1/8000 and a little.
                 .max_file_bytes = disk_size + disk_size / 1024 + (std::uint64_t{16} << 20)},
      .run_dir = spec.run_dir,
  };
}

Result<QemuConnections> QemuDriver::connect(UniqueFd qmp, UniqueFd channel, UniqueFd console,
                                            const std::shared_ptr<QemuControlEvents>& control) const {
  QemuConnections connections{.poller = settings_.pollers->next(),
                              .qmp = nullptr,
                              .channel = std::move(channel),
                              .console = std::move(console)};
  connections.qmp = NANOBOX_TRY(QmpSession::open(connections.poller, std::move(qmp),
                                                 [control](const QmpMessage& message) { control->deliver(message); }));
  return connections;
}

/// Ends a VMM that never became a VM, and says why in its own words.
Error end_failed(VmProcess& process, const Error& seen) {
  pollfd ended{.fd = process.exit_fd(), .events = POLLIN, .revents = 0};
  // It closed its socket, so it is about to end by itself; its exit status tells more than our signal.
  if (seen.code == ErrorCode::guest_gone) poll(&ended, 1, 500);
  process.end();
  poll(&ended, 1, static_cast<int>(std::chrono::milliseconds(exit_patience).count()));
  const auto status = process.exit_status(exit_patience);
  const auto words = last_words(process.output());
  (void)process.remove_cgroup();
  if (seen.code != ErrorCode::guest_gone && seen.code != ErrorCode::deadline_exceeded) return seen;
  if (status.oom_kills > 0)
    return start_error(ErrorCode::vmm_failed, "", "the VMM exceeded its memory limit at its start",
                       "give the sandbox more memory");
  std::string reason = seen.code == ErrorCode::deadline_exceeded ? "the VMM did not answer in time" : "the VMM ended";
  if (status.exit_code) reason += " with code " + std::to_string(*status.exit_code);
  if (status.signal && seen.code == ErrorCode::guest_gone) reason += " by signal " + std::to_string(*status.signal);
  if (!words.empty()) reason += ": " + words;
  return start_error(ErrorCode::vmm_failed, "", std::move(reason));
}

Result<std::unique_ptr<Vm>> QemuDriver::start(const VmSpec& spec, VmEvents events, const std::stop_token& stop) {
  NANOBOX_TRY(check_spec(spec, settings_));
  const auto kernel_line = NANOBOX_TRY(kernel_arguments(
      spec.boot_args,
      {.emulated = settings_.kind == VmmKind::qemu_tcg, .vcpu = spec.vcpu, .tsc_khz = clock_.tsc_khz()}));
  const auto disk_size = NANOBOX_TRY(disk_bytes(spec.overlay));
  const bool own_user = geteuid() == 0 && settings_.confinement.report.level != ConfinementLevel::user_namespace;
  if (own_user) NANOBOX_TRY(give_files(spec));

  Sockets sockets{.qmp = NANOBOX_TRY(make_vm_socket(spec.run_dir, qmp_name)),
                  .channel = NANOBOX_TRY(make_vm_socket(spec.run_dir, channel_name)),
                  .console = NANOBOX_TRY(make_vm_socket(spec.run_dir, console_name))};
  const auto uuid = random_uuid();
  auto process =
      NANOBOX_TRY(VmProcess::spawn(settings_.confinement, process_spec(spec, uuid, kernel_line, disk_size, sockets)));
  for (auto* socket : {&sockets.qmp, &sockets.channel, &sockets.console}) socket->listening.reset();

  const auto control = std::make_shared<QemuControlEvents>();
  auto connections = connect(std::move(sockets.qmp.connected), std::move(sockets.channel.connected),
                             std::move(sockets.console.connected), control);
  if (!connections) return fail(end_failed(process, connections.error()));
  // Answered once the machine is made, so its memory is mapped now.
  const auto status = [&] {
    const std::stop_callback on_stop(stop, [&] { connections->qmp->close(); });
    return connections->qmp->call("query-status", "", start_deadline);
  }();
  if (!status && stop.stop_requested())
    return fail(end_failed(process, start_error(ErrorCode::cancelled, "", "it was cancelled")));
  if (!status) return fail(end_failed(process, status.error()));
  if (const auto is_private =
          check_private_memory(process.pid(), spec.memory_file, std::uint64_t{spec.memory_mb} << 20);
      !is_private)
    return fail(end_failed(process, is_private.error()));

  const auto& who = process.identity();
  VmIdentity identity{.sandbox_id = spec.sandbox_id,
                      .kind = settings_.kind,
                      .boot_id = who.vmm.boot_id,
                      .pid = who.vmm.pid,
                      .start_time_ticks = who.vmm.start_time_ticks,
                      .uuid = uuid,
                      .vmm_digest = pinned_.digest,
                      .run_dir = spec.run_dir,
                      .parent_pid = who.parent.pid,
                      .parent_start_time_ticks = who.parent.start_time_ticks,
                      .cgroup = who.cgroup};
  return QemuVm::watch(std::move(identity), std::move(process), std::move(*connections), control, std::move(events));
}

Result<std::unique_ptr<Vm>> QemuDriver::adopt(const VmIdentity& identity, VmEvents events) {
  const auto gone = [&](std::string reason) {
    return fail({.code = ErrorCode::guest_gone,
                 .attempted = "take over the VM",
                 .subject = identity.sandbox_id,
                 .reason = std::move(reason),
                 .mend = ""});
  };
  auto process =
      NANOBOX_TRY(VmProcess::adopt({.vmm = {identity.boot_id, identity.pid, identity.start_time_ticks},
                                    .parent = {identity.boot_id, identity.parent_pid, identity.parent_start_time_ticks},
                                    .cgroup = identity.cgroup,
                                    .run_dir = identity.run_dir}));
  auto qmp = NANOBOX_TRY(connect_vm_socket(identity.run_dir, qmp_name));
  auto channel = NANOBOX_TRY(connect_vm_socket(identity.run_dir, channel_name));
  auto console = NANOBOX_TRY(connect_vm_socket(identity.run_dir, console_name));
  const auto control = std::make_shared<QemuControlEvents>();
  auto connections = NANOBOX_TRY(connect(std::move(qmp), std::move(channel), std::move(console), control));

  const auto answer = connections.qmp->call("query-uuid", "", adopt_deadline);
  if (!answer) return gone("its control socket: " + answer.error().reason);
  if (json_string(*answer, "UUID") != identity.uuid) return gone("another VM answers at its control socket");
  // The events of the time without a daemon are lost: the state they left is asked for.
  const auto status = connections.qmp->call("query-status", "", adopt_deadline);
  if (!status) return gone("its control socket: " + status.error().reason);
  const auto state = json_string(*status, "status").value_or("");
  if (state == "io-error")
    control->deliver({.kind = QmpMessage::Kind::event,
                      .id = 0,
                      .name = "BLOCK_IO_ERROR",
                      .body = R"({"nospace":true})",
                      .description = ""});
  return QemuVm::watch(identity, std::move(process), std::move(connections), control, std::move(events));
}

Result<void> QemuDriver::clean_up(const VmIdentity& identity) {
  if (identity.cgroup.empty()) return {};
  return NANOBOX_TRY(Cgroup::from_string(identity.cgroup)).remove();
}

Result<std::size_t> QemuDriver::remove_leftovers(std::span<const VmIdentity> keep) {
  std::vector<Cgroup> kept;
  for (const auto& identity : keep)
    if (!identity.cgroup.empty()) kept.push_back(NANOBOX_TRY(Cgroup::from_string(identity.cgroup)));
  return settings_.confinement.cgroups.remove_leftovers(kept);
}

}  // namespace

Result<std::unique_ptr<VmmDriver>> make_qemu_driver(const QemuSettings& settings) {
  const auto binary = NANOBOX_TRY(find_vmm(settings.binary.empty() ? "qemu-system-x86_64" : settings.binary));
  auto pinned = NANOBOX_TRY(pin_qemu(binary, settings.data_folder));
  return std::make_unique<QemuDriver>(settings, std::move(pinned));
}

}  // namespace nanobox
