#include "pipeline/boot/vmm/probe.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>

#include "config/child_process.hpp"
#include "config/unique_fd.hpp"
#include "pipeline/boot/vmm/probe_guest/probe_guest.hpp"
#include "pipeline/boot/vmm/vmm_pin.hpp"

namespace nanobox {

namespace {

// KVM that works takes about as long as emulation, for QEMU's start is most of it.
constexpr int kSlowerThanEmulated = 20;
constexpr std::chrono::milliseconds kLeastPatience{2000};

Result<UniqueFd> guest_in_memory() {
  UniqueFd fd(memfd_create("nanobox-probe", MFD_CLOEXEC));
  const auto guest = probe_guest();
  if (!fd || write(fd.get(), guest.data(), guest.size()) != static_cast<ssize_t>(guest.size()))
    return fail(errno_error(errno, "make the probe's guest", "memfd"));
  return fd;
}

std::string first_line(const std::string& text) {
  const auto line = text.substr(0, text.find('\n'));
  return line.empty() ? "it said nothing" : line;
}

std::string version_of(const std::filesystem::path& binary) {
  const auto run = run_command({.program = binary, .arguments = {"--version"}, .env = {{}}, .descriptors = {}},
                               std::chrono::seconds{5});
  if (!run || !run->exit.succeeded()) return {};
  const auto line = first_line(run->out);  // "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-…)"
  const auto at = line.find("version ");
  return at == std::string::npos ? line : line.substr(at + 8);
}

VmmProbe unusable(VmmKind kind, std::string version, std::string reason, std::string mend) {
  return {.kind = kind,
          .usable = false,
          .version = std::move(version),
          .reason = std::move(reason),
          .mend = std::move(mend)};
}

VmmProbe probe_qemu(VmmKind kind, const ProbeSettings& settings, std::chrono::milliseconds patience) {
  const bool kvm = kind == VmmKind::qemu_kvm;
  const auto binary = find_vmm(settings.qemu_binary.empty() ? "qemu-system-x86_64" : settings.qemu_binary);
  if (!binary) return unusable(kind, "", binary.error().subject + ": " + binary.error().reason, binary.error().mend);
  const auto version = version_of(*binary);
  if (kvm) {
    const UniqueFd device(open(settings.kvm_device.c_str(), O_RDWR | O_CLOEXEC));
    if (!device)
      return unusable(kind, version, errno_error(errno, "", "").reason + ": " + settings.kvm_device.string(),
                      errno == EACCES ? "add the daemon's user to the group kvm"
                                      : "enable virtualisation in the firmware, or for this machine if it is virtual");
  }
  const auto guest = guest_in_memory();
  if (!guest) return unusable(kind, version, describe(guest.error()), "");

  const auto begin = std::chrono::steady_clock::now();
  // Should this daemon be killed meanwhile, the guest goes too.
  const auto run =
      run_command({.program = "setpriv",
                   .arguments = {"--pdeathsig",
                                 "KILL",
                                 *binary,
                                 "-M",
                                 "microvm,acpi=off,rtc=on,pcie=off,usb=off,x-option-roms=off",
                                 "-accel",
                                 kvm ? "kvm" : "tcg,thread=multi,tb-size=32",
                                 "-cpu",
                                 kvm ? "host" : "max,-erms,-fsrm",
                                 "-smp",
                                 "1",
                                 "-m",
                                 "32",
                                 "-nodefaults",
                                 "-no-user-config",
                                 "-no-reboot",
                                 "-display",
                                 "none",
                                 "-kernel",
                                 "/proc/self/fd/3",
                                 "-device",
                                 "isa-debug-exit,iobase=0xf4,iosize=1",
                                 "-sandbox",
                                 "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"},
                   .env = {},
                   .descriptors = {{.source = guest->get(), .target = 3}}},
                  patience);
  const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - begin);
  if (!run && run.error().code != ErrorCode::deadline_exceeded)
    return unusable(kind, version, describe(run.error()), run.error().mend);
  if (run && run->exit.exit_code == probe_guest_success)
    return {.kind = kind,
            .usable = true,
            .version = version,
            .reason = "a tiny guest ran in " + std::to_string(took.count()) + " ms",
            .mend = ""};

  std::string reason = "a tiny guest ";
  if (!run)
    reason += "had not ended after " + std::to_string(patience.count()) + " ms" +
              (kvm ? ": this host emulates its virtualisation" : "");
  else if (run->exit.signal)
    reason += "killed its VMM by signal " + std::to_string(*run->exit.signal) + ": " + first_line(run->err);
  else if (run->exit.succeeded())
    reason += "met an instruction this host cannot do, and was reset";
  else
    reason += "failed, code " + std::to_string(run->exit.exit_code.value_or(-1)) + ": " + first_line(run->err);
  return unusable(kind, version, std::move(reason),
                  kvm ? "none is needed where qemu-tcg works; else use a host with hardware virtualisation" : "");
}

VmmProbe probe_firecracker() {
  return unusable(VmmKind::firecracker, "", "this version of NanoBox cannot drive Firecracker", "use \"auto\"");
}

}  // namespace

std::vector<VmmProbe> probe_vmms(const ProbeSettings& settings) {
  constexpr std::array kinds{VmmKind::firecracker, VmmKind::qemu_kvm, VmmKind::qemu_tcg};
  const bool one = std::ranges::any_of(kinds, [&](VmmKind kind) { return settings.asked == to_string(kind); });
  const auto wanted = [&](VmmKind kind) { return !one || settings.asked == to_string(kind); };
  std::vector<VmmProbe> probes;
  auto patience = settings.deadline;
  if (wanted(VmmKind::qemu_tcg)) {
    const auto begin = std::chrono::steady_clock::now();
    probes.push_back(probe_qemu(VmmKind::qemu_tcg, settings, settings.deadline));
    const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - begin);
    if (probes.back().usable) patience = std::max(kLeastPatience, kSlowerThanEmulated * took);
  }
  if (wanted(VmmKind::qemu_kvm)) probes.push_back(probe_qemu(VmmKind::qemu_kvm, settings, patience));
  if (wanted(VmmKind::firecracker)) probes.push_back(probe_firecracker());
  std::ranges::reverse(probes);
  return probes;
}

Result<VmmKind> choose_vmm(std::string_view setting, const std::vector<VmmProbe>& probes) {
  bool known = setting == "auto";
  std::string reasons, mend;
  for (const auto& probe : probes) {
    const bool asked = setting == to_string(probe.kind);
    known |= asked;
    if (!asked && setting != "auto") continue;
    if (probe.usable) return probe.kind;
    reasons.append(reasons.empty() ? "" : "; ").append(to_string(probe.kind)).append(": ").append(probe.reason);
    if (!probe.mend.empty()) mend = probe.mend;
  }
  if (!known)
    return fail({.code = ErrorCode::config_invalid,
                 .attempted = "choose a VMM",
                 .subject = "agent.vmm",
                 .reason = "there is no \"" + std::string(setting) + "\"",
                 .mend = "use auto, firecracker, qemu-kvm or qemu-tcg"});
  return fail({.code = ErrorCode::host_unsuitable,
               .attempted = "choose a VMM",
               .subject = std::string(setting),
               .reason = reasons.empty() ? "nothing was probed" : reasons,
               .mend = mend});
}

}  // namespace nanobox
