#pragma once

#include <chrono>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "pipeline/boot/vmm/driver.hpp"

namespace nanobox {

struct ProbeSettings {
  std::filesystem::path qemu_binary = {};  ///< empty: found in PATH
  std::filesystem::path kvm_device = "/dev/kvm";
  std::chrono::milliseconds deadline{20'000};  ///< for the emulated guest, and for any where there is no emulation
  std::string asked = "auto";                  ///< a kind's name: only that one is tried
};

/// What this host really can do: each kind of VMM runs a tiny guest that enters long mode, does what kernels do
/// early (cmpxchg16b, xsave, xrstor) and counts. A host that has the device but emulates what it does is found by its
/// guest taking much longer than the same one in software. Best kind first. Blocking.
std::vector<VmmProbe> probe_vmms(const ProbeSettings& settings);

/// The kind to use for `[agent] vmm` ("auto", or a kind's name).
/// @errors host_unsuitable: none is usable, or not the one that was asked for; reason and mend are the probe's
/// @errors config_invalid: no such kind
Result<VmmKind> choose_vmm(std::string_view setting, const std::vector<VmmProbe>& probes);

}  // namespace nanobox
