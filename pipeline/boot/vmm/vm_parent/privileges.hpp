#pragma once

#include <string_view>

#include "config/error.hpp"
#include "pipeline/boot/vmm/vm_parent/launch.hpp"

namespace nanobox {

/// Gives up every capability for good (bounding set and securebits too, where we may) and changes to the launch's
/// user and group without supplementary groups, if it says so. Sets no_new_privs.
Result<void> drop_privileges(const Launch& launch);

/// The last two steps for the parent itself, which keeps its user: no capabilities, no_new_privs.
void drop_capabilities();

/// Installs a filter (struct sock_filter[]) for this process and what it execs.
Result<void> install_seccomp(std::string_view filter);

}  // namespace nanobox
