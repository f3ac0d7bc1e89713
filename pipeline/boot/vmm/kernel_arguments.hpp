#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "config/error.hpp"

namespace nanobox {

/// What decides a guest kernel's command line besides the configuration.
struct KernelMachine {
  bool emulated = true;  ///< TCG
  std::uint32_t vcpu = 1;
  std::optional<std::uint64_t> tsc_khz;  ///< of the host
  /// The local APIC's timer, which the kernel measures for 0.1 s, instead of the PIT, which an idle guest must set anew
  /// every 27 ms.
  bool idles_long = false;
};

/// `boot_args` as given, then what QEMU's microvm needs; of an argument given twice the kernel takes the last.
/// @errors config_invalid: a control character, or longer than the kernel reads (2048 with the devices' part)
Result<std::string> kernel_arguments(std::string_view boot_args, const KernelMachine& machine);

}  // namespace nanobox
