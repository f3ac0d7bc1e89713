#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "pipeline/boot/vmm/driver.hpp"

namespace nanobox {

/// Where a QEMU finds its files, by the names it sees.
struct QemuNames {
  std::filesystem::path vmm = "/vmm";  ///< the pinned folder
  std::filesystem::path kernel = "/kernel";
  std::filesystem::path disk = "/disk";
  std::filesystem::path base = "/base";
  std::filesystem::path memory = "/mem";
  bool own_root = true;  ///< else the names are the host's
  std::filesystem::path layer(std::size_t number, const std::filesystem::path& source) const;
};

/// The numbers of the listening sockets it inherits.
struct QemuDescriptors {
  int qmp = 3;
  int channel = 4;
  int console = 5;
  int layers = 6;  ///< of a VMM that takes a state: where its memory's layers come from
  int tap = 7;     ///< of a VM with an interface
};

/// Its code buffer; QEMU's own default is a GiB a VM.
inline constexpr std::uint32_t tcg_buffer_mb = 32;
/// Threads beside the vCPUs: main, RCU, monitor and at most 8 for the disk, and some to spare.
inline constexpr std::uint32_t qemu_helper_threads = 24;

/// argv of a cold boot; argv[0] is the pinned loader, which takes the pinned libraries whatever the host has.
std::vector<std::string> qemu_arguments(const VmSpec& spec, VmmKind kind, const std::string& uuid,
                                        const std::string& kernel_line, const QemuNames& names,
                                        const QemuDescriptors& descriptors);
/// argv of a VMM that waits for a state: the same machine, without kernel and disk.
std::vector<std::string> empty_qemu_arguments(const EmptyVmmSpec& spec, VmmKind kind, const std::string& uuid,
                                              const QemuNames& names, const QemuDescriptors& descriptors);
std::vector<std::string> qemu_environment(const QemuNames& names);

}  // namespace nanobox
