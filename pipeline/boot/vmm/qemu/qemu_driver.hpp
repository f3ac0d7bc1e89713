#pragma once

#include <filesystem>
#include <memory>
#include <optional>

#include "pipeline/boot/vmm/confinement.hpp"
#include "pipeline/boot/vmm/driver.hpp"
#include "pipeline/boot/vmm/poller.hpp"

namespace nanobox {

/// What the QEMU driver of one node is made of.
struct QemuSettings {
  VmmKind kind = VmmKind::qemu_tcg;    ///< qemu_tcg or qemu_kvm
  std::filesystem::path data_folder;   ///< DATA: the VMM is pinned in DATA/vmm/<digest>/
  std::filesystem::path binary;        ///< empty: found in PATH; without a slash: looked up there
  std::shared_ptr<PollerSet> pollers;  ///< serves the sockets of all VMs; shared by all drivers
  ConfinementHost confinement;         ///< of this data folder, made once by the daemon
  std::optional<UidRange> uids = {};   ///< a spec's uid must lie in it
  bool has_interface = false;          ///< every machine of this driver has a network interface, or none has
};

/// QEMU `-M microvm` (design: vmm.md). Pins the VMM on first use: some 100 ms, then a few. Blocking.
/// @errors vmm_missing (the mend names the package) · disk_full · io_failed
Result<std::unique_ptr<VmmDriver>> make_qemu_driver(const QemuSettings& settings);

}  // namespace nanobox
