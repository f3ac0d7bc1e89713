#pragma once

#include <filesystem>
#include <string>

#include "config/error.hpp"

namespace nanobox {

/// A VMM copied with all it needs to DATA/vmm/<digest>/, so that an upgrade of the host changes no sandbox:
/// `ld.so`, `vmm` (the binary), `lib/`, `modules/`, `firmware/`, `private_memory.so`, `sources`.
struct PinnedVmm {
  std::filesystem::path folder;
  std::string digest;  ///< SHA-256 over names and contents, hex
};

/// The full path of a VMM's binary. @param name  without a slash: looked up in PATH
/// @errors vmm_missing (the mend names the package)
Result<std::filesystem::path> find_vmm(const std::filesystem::path& name);

/// Copies `binary` with its libraries, its accelerator modules, its firmware and our preload, once; later calls find
/// it by the sources' sizes and times. Appears under its final name only when complete. Blocking.
/// @errors vmm_missing (not runnable, or a part is not there) · disk_full · io_failed
Result<PinnedVmm> pin_qemu(const std::filesystem::path& binary, const std::filesystem::path& data_folder);

}  // namespace nanobox
