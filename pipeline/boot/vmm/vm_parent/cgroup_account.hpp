#pragma once

#include <cstdint>
#include <string_view>

namespace nanobox {

/// What a cgroup kept count of; 0 where it does not.
struct CgroupAccount {
  std::uint64_t memory_peak_bytes = 0;
  std::uint64_t oom_kills = 0;
};

/// @param cgroup  as Cgroup::to_string
CgroupAccount account_of(std::string_view cgroup);

}  // namespace nanobox
