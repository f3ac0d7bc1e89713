#pragma once

#include <sys/types.h>
#include <cstdint>
#include <string>

#include "config/error.hpp"
#include "config/unique_fd.hpp"

namespace nanobox {

/// Names one process for as long as the machine is up: a pid is used again, the three together are not.
struct ProcIdentity {
  std::string boot_id;
  pid_t pid = 0;
  std::uint64_t start_time_ticks = 0;  ///< /proc/PID/stat field 22
  bool operator==(const ProcIdentity&) const = default;
};

/// /proc/sys/kernel/random/boot_id without its newline.
Result<std::string> boot_id();

/// Field 22 of /proc/PID/stat. @errors guest_gone when there is no such process, or it has ended already
Result<std::uint64_t> start_time_ticks(pid_t pid);

/// @errors guest_gone
Result<ProcIdentity> identify(pid_t pid);

/// A pidfd of exactly that process. @errors guest_gone when another boot, another process or none is meant
Result<UniqueFd> open_process(const ProcIdentity& identity);

}  // namespace nanobox
