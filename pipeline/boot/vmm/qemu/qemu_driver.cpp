#include "pipeline/boot/vmm/qemu/qemu_driver.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/random_bytes.hpp"
#include "config/sha256.hpp"
#include "pipeline/boot/disk/overlay.hpp"
#include "pipeline/boot/vmm/host_clock.hpp"
#include "pipeline/boot/vmm/kernel_arguments.hpp"
#include "pipeline/boot/vmm/memory_check.hpp"
#include "pipeline/boot/vmm/qemu/empty_qemu.hpp"
#include "pipeline/boot/vmm/qemu/qemu_arguments.hpp"
#include "pipeline/boot/vmm/qemu/qemu_disk.hpp"
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
  fill_random(std::as_writable_bytes(std::span(bytes)));
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

/// RLIMIT_FSIZE for a disk: a full qcow2 is larger than it by its tables, some 1/8000 and a little.
std::uint64_t file_limit(std::uint64_t disk_size) {
  return disk_size + disk_size / 1024 + (std::uint64_t{16} << 20);
}

class QemuDriver : public VmmDriver {
public:
  QemuDriver(QemuSettings settings, PinnedVmm pinned) : settings_(std::move(settings)), pinned_(std::move(pinned)) {}

  VmmKind kind() const override { return settings_.kind; }
  Result<std::unique_ptr<Vm>> start(const VmSpec& spec, VmEvents events, const std::stop_token& stop) override;
  std::string fingerprint(std::uint32_t vcpu, std::string_view boot_args) const override;
  std::optional<std::uint64_t> tsc_khz() const override { return clock_.tsc_khz(); }
  Result<std::unique_ptr<EmptyVmm>> prepare(const EmptyVmmSpec& spec) override;
  Result<RestoredVm> restore(EmptyVmm& vmm, const VmState& state, VmEvents events) override;
  Result<std::unique_ptr<Vm>> adopt(const VmIdentity& identity, VmEvents events) override;
  Result<void> clean_up(const VmIdentity& identity) override;
  Result<std::size_t> remove_leftovers(std::span<const VmIdentity> keep) override;

private:
  struct Sockets {
    VmSocket qmp, channel, console;
  };

  /// What every VMM has, whatever it runs.
  struct Machine {
    std::string uuid;
    QemuNames names;
    std::uint32_t vcpu = 1, memory_mb = 0, uid = 0;
    fs::path memory_file, run_dir;
    std::optional<VmInterface> interface;
  };
  /// A VMM that answers.
  struct Launched {
    VmProcess process;
    QemuConnections connections;
    std::shared_ptr<QemuControlEvents> control;
  };

  QemuNames host_names() const;
  bool has_own_user() const {
    return geteuid() == 0 && settings_.confinement.report.level != ConfinementLevel::user_namespace;
  }
  VmProcessSpec process_spec(const Machine& machine, const Sockets& sockets) const;
  Result<void> check_interface(const std::optional<VmInterface>& interface, const std::string& id) const;
  Result<Launched> launch(const Machine& machine, const std::function<void(VmProcessSpec&)>& complete,
                          const std::stop_token& stop) const;
  VmIdentity identity_of(const std::string& id, const Machine& machine, const VmProcess& process) const;
  Result<QemuConnections> connect(UniqueFd qmp, UniqueFd channel, UniqueFd console,
                                  const std::shared_ptr<QemuControlEvents>& control) const;
  bool has_own_root() const { return settings_.confinement.report.level != ConfinementLevel::minimal; }

  const QemuSettings settings_;
  const PinnedVmm pinned_;
  const HostClock clock_;
};

VmProcessSpec QemuDriver::process_spec(const Machine& machine, const Sockets& sockets) const {
  const QemuDescriptors descriptors;
  VmProcessSpec spec{
      .name = "vm-" + machine.uuid.substr(0, 18),
      .program = machine.names.vmm / "ld.so",
      .argv = {},
      .env = qemu_environment(machine.names),
      .root = {{.kind = RootEntry::Kind::folder, .source = pinned_.folder, .target = machine.names.vmm},
               {.kind = RootEntry::Kind::file, .source = machine.memory_file, .target = machine.names.memory}},
      .descriptors = {{.source = sockets.qmp.listening.get(), .target = descriptors.qmp},
                      {.source = sockets.channel.listening.get(), .target = descriptors.channel},
                      {.source = sockets.console.listening.get(), .target = descriptors.console}},
      .uid = machine.uid,
      .gid = machine.uid,
      .limits = {.cgroup = {.memory_bytes = (std::uint64_t{machine.memory_mb} + tcg_buffer_mb + 64) << 20,
                            .cpu_percent = machine.vcpu * 100 + 25,
                            .max_pids = machine.vcpu + qemu_helper_threads},
                 .max_files = 256,
                 .max_file_bytes = 0},
      .run_dir = machine.run_dir,
  };
  if (machine.interface) {
    spec.network_namespace = machine.interface->network_namespace;
    spec.descriptors.push_back({.source = machine.interface->tap, .target = descriptors.tap});
  }
  return spec;
}

/// A state fits the machine it was saved from, so all of this driver's have an interface, or none has.
Result<void> QemuDriver::check_interface(const std::optional<VmInterface>& interface, const std::string& id) const {
  if (interface.has_value() == settings_.has_interface) return {};
  return fail(start_error(ErrorCode::internal, id,
                          settings_.has_interface ? "it has no network interface" : "it has a network interface"));
}

QemuNames QemuDriver::host_names() const {
  QemuNames names;
  if (has_own_root()) return names;
  names.own_root = false;
  names.vmm = pinned_.folder;
  return names;
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

Result<QemuDriver::Launched> QemuDriver::launch(const Machine& machine,
                                                const std::function<void(VmProcessSpec&)>& complete,
                                                const std::stop_token& stop) const {
  Sockets sockets{.qmp = NANOBOX_TRY(make_vm_socket(machine.run_dir, qmp_name)),
                  .channel = NANOBOX_TRY(make_vm_socket(machine.run_dir, channel_name)),
                  .console = NANOBOX_TRY(make_vm_socket(machine.run_dir, console_name))};
  auto spec = process_spec(machine, sockets);
  complete(spec);
  auto process = NANOBOX_TRY(VmProcess::spawn(settings_.confinement, spec));
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
          check_private_memory(process.pid(), machine.memory_file, std::uint64_t{machine.memory_mb} << 20);
      !is_private)
    return fail(end_failed(process, is_private.error()));
  return Launched{std::move(process), std::move(*connections), control};
}

VmIdentity QemuDriver::identity_of(const std::string& id, const Machine& machine, const VmProcess& process) const {
  const auto& who = process.identity();
  return {.sandbox_id = id,
          .kind = settings_.kind,
          .boot_id = who.vmm.boot_id,
          .pid = who.vmm.pid,
          .start_time_ticks = who.vmm.start_time_ticks,
          .uuid = machine.uuid,
          .vmm_digest = pinned_.digest,
          .run_dir = machine.run_dir,
          .parent_pid = who.parent.pid,
          .parent_start_time_ticks = who.parent.start_time_ticks,
          .cgroup = who.cgroup};
}

Result<std::unique_ptr<Vm>> QemuDriver::start(const VmSpec& spec, VmEvents events, const std::stop_token& stop) {
  NANOBOX_TRY(check_spec(spec, settings_));
  NANOBOX_TRY(check_interface(spec.interface, spec.sandbox_id));
  const auto kernel_line =
      NANOBOX_TRY(kernel_arguments(spec.boot_args, {.emulated = settings_.kind == VmmKind::qemu_tcg,
                                                    .vcpu = spec.vcpu,
                                                    .tsc_khz = clock_.tsc_khz(),
                                                    .idles_long = spec.idles_long}));
  const auto disk_size = NANOBOX_TRY(overlay_size(spec.overlay));
  if (has_own_user()) NANOBOX_TRY(give_files(spec));
  Machine machine{.uuid = random_uuid(),
                  .names = host_names(),
                  .vcpu = spec.vcpu,
                  .memory_mb = spec.memory_mb,
                  .uid = spec.uid,
                  .memory_file = spec.memory_file,
                  .run_dir = spec.run_dir,
                  .interface = spec.interface};
  auto& names = machine.names;
  if (!names.own_root) {
    names.kernel = spec.kernel;
    names.disk = spec.overlay;
    names.base = spec.base_image;
    names.memory = spec.memory_file;
  }
  auto launched = NANOBOX_TRY(launch(
      machine,
      [&](VmProcessSpec& process) {
        using Kind = RootEntry::Kind;
        process.argv = qemu_arguments(spec, settings_.kind, machine.uuid, kernel_line, names, {});
        process.root.insert(process.root.end(),
                            {{.kind = Kind::file, .source = spec.kernel, .target = names.kernel},
                             {.kind = Kind::file, .source = spec.base_image, .target = names.base},
                             {.kind = Kind::file, .source = spec.overlay, .target = names.disk, .read_only = false}});
        for (std::size_t i = 0; i < spec.disk_layers.size(); ++i)
          process.root.push_back(
              {.kind = Kind::file, .source = spec.disk_layers[i], .target = names.layer(i, spec.disk_layers[i])});
        process.limits.max_file_bytes = file_limit(disk_size);
      },
      stop));
  // Before the process is moved: arguments are evaluated in any order.
  auto identity = identity_of(spec.sandbox_id, machine, launched.process);
  return QemuVm::watch(std::move(identity), std::move(launched.process), std::move(launched.connections),
                       launched.control, std::move(events));
}

std::string QemuDriver::fingerprint(std::uint32_t vcpu, std::string_view boot_args) const {
  // The TSC's frequency, on the kernel's line, is measured anew by every daemon: see tsc_khz().
  const auto line = kernel_arguments(
      boot_args, {.emulated = settings_.kind == VmmKind::qemu_tcg, .vcpu = vcpu, .tsc_khz = std::nullopt});
  std::string text = std::string(to_string(settings_.kind)) + '\n' + pinned_.digest + '\n' + line.value_or("") + '\n';
  EmptyVmmSpec spec{.id = "", .vcpu = vcpu, .memory_mb = 0, .memory_file = "", .run_dir = "", .uid = 0};
  if (settings_.has_interface) spec.interface.emplace();
  for (const auto& argument : empty_qemu_arguments(spec, settings_.kind, "", {}, {})) text += argument + '\n';
  return sha256_hex(text);
}

Result<std::unique_ptr<EmptyVmm>> QemuDriver::prepare(const EmptyVmmSpec& spec) {
  struct stat file {};
  if (stat(spec.memory_file.c_str(), &file) != 0)
    return fail(errno_error(errno, "open the guest's memory", spec.memory_file, ErrorCode::snapshot_invalid));
  if (static_cast<std::uint64_t>(file.st_size) != std::uint64_t{spec.memory_mb} << 20)
    return fail(start_error(ErrorCode::snapshot_invalid, spec.memory_file, "its size is not the guest's memory"));
  NANOBOX_TRY(check_interface(spec.interface, spec.id));
  Machine machine{.uuid = random_uuid(),
                  .names = host_names(),
                  .vcpu = spec.vcpu,
                  .memory_mb = spec.memory_mb,
                  .uid = spec.uid,
                  .memory_file = spec.memory_file,
                  .run_dir = spec.run_dir,
                  .interface = spec.interface};
  if (!machine.names.own_root) machine.names.memory = spec.memory_file;
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
    return fail(errno_error(errno, "make a socket for", spec.id));
  UniqueFd ours(ends[0]);
  const UniqueFd theirs(ends[1]);
  auto launched =
      NANOBOX_TRY(launch(machine,
                         [&](VmProcessSpec& process) {
                           const QemuDescriptors descriptors;
                           process.argv =
                               empty_qemu_arguments(spec, settings_.kind, machine.uuid, machine.names, descriptors);
                           process.descriptors.push_back({.source = theirs.get(), .target = descriptors.layers});
                           process.env.push_back("NANOBOX_MEMORY_LAYERS_FD=" + std::to_string(descriptors.layers));
                         },
                         {}));
  auto identity = identity_of(spec.id, machine, launched.process);
  auto empty =
      std::make_unique<EmptyQemu>(std::move(identity), std::move(launched.process), std::move(launched.connections),
                                  std::move(launched.control), std::move(ours));
  NANOBOX_TRY(empty->plug_base({.image = spec.base_image, .layers = spec.disk_layers}));
  if (!spec.state.empty()) NANOBOX_TRY(empty->take_state(spec.state, spec.overlay));
  return empty;
}

Result<RestoredVm> QemuDriver::restore(EmptyVmm& vmm, const VmState& state, VmEvents events) {
  auto* empty = dynamic_cast<EmptyQemu*>(&vmm);
  if (empty == nullptr)
    return fail(start_error(ErrorCode::internal, vmm.identity().sandbox_id, "it is another driver's"));
  return empty->take(state, std::move(events));
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
  // It died between stop and cont: a fork or a pause that never was.
  if (state == "paused" || state == "postmigrate") NANOBOX_TRY(connections.qmp->call("cont", "", adopt_deadline));
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
