#pragma once

#include "config/error.hpp"
#include "pipeline/boot/vmm/vm_parent/launch.hpp"

namespace nanobox {

/// In a mount namespace of its own: makes a small read-only tmpfs that holds the entries of `launch` and nothing else
/// the root, and detaches the old one. Its mount point is the run folder (seen in this namespace only).
Result<void> enter_new_root(const Launch& launch);

}  // namespace nanobox
