#pragma once

#include <span>

#include "config/unique_fd.hpp"
#include "pipeline/boot/vmm/vm_parent/launch.hpp"

namespace nanobox {

/// Descriptors that came with a launch, and the two ends the new process talks to its parent with.
struct ConfinedDescriptors {
  int network = -1;  ///< a namespace to join
  std::span<const UniqueFd> cgroups;
  std::span<const UniqueFd> inherited;
  int log = -1;      ///< becomes 1 and 2
  int go = -1;       ///< one byte: the parent is done (user maps, identity file); its end: the parent died
  int failure = -1;  ///< closed by exec; else an Error (see to_bytes)
};

/// What the freshly cloned process does: puts every confinement on, in the order their privileges allow, and becomes
/// the VMM. Never returns.
[[noreturn]] void become_confined(const Launch& launch, const ConfinedDescriptors& descriptors);

}  // namespace nanobox
