#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace nanobox {

/// How long a pool or the stock waits before it tries to fill up again, after so many failures in a row before this
/// one.
inline std::chrono::milliseconds refill_back_off(std::uint32_t failures) {
  constexpr std::chrono::milliseconds first{500}, longest{60'000};
  return std::min(first * (1 << std::min(failures, 10U)), longest);
}

}  // namespace nanobox
