#pragma once

#include <string>

#include "pipeline/boot/vmm/driver.hpp"
#include "pipeline/boot/vmm/vm_process.hpp"

namespace nanobox {

/// All that was seen of a VM's end.
struct VmEnding {
  VmExitStatus status = {};
  bool end_asked = false;       ///< by us
  bool guest_panicked = false;  ///< the console or the VMM said so
  bool guest_rebooted = false;  ///< the guest asked for it
  std::string console = {};     ///< its last bytes
  std::string output = {};      ///< of the VMM
};

VmExit to_vm_exit(const VmEnding& ending);

/// The last line that holds something, without blanks around it; of a VMM: without its own name in front.
std::string last_words(const std::string& output);

}  // namespace nanobox
