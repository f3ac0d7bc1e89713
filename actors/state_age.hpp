#pragma once

#include <algorithm>
#include <cstdint>

#include "config/clock.hpp"

namespace nanobox {

/// How old a state is that was saved at that time, in ms: by the clocks of two hosts where it came from another, which
/// may differ, but never below 0.
inline std::int64_t state_age_ms(WallTime taken_at) {
  return std::max<std::int64_t>(0, (wall_now() - taken_at).count());
}

}  // namespace nanobox
