#pragma once

#include <cstdint>

namespace nanobox {

/// What a VMM had taken of its host when it ended.
struct VmSpent {
  std::int64_t cpu_us = 0;
  std::uint64_t memory_peak_bytes = 0;  ///< of its cgroup, else the most that was resident
  bool operator==(const VmSpent&) const = default;
};

}  // namespace nanobox
