#pragma once

#include <string_view>

#include "pipeline/boot/vmm/driver.hpp"
#include "pipeline/insight/sandbox_death.hpp"

namespace nanobox {

/// Why a sandbox is dead whose VM ended by itself.
/// @param oom_kills  how often the host's kernel killed a process of its cgroup for want of memory
/// @param console    its last lines
DeathCause cause_of(const VmExit& exit, std::uint64_t oom_kills, std::string_view console);

}  // namespace nanobox
