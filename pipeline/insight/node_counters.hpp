#pragma once

#include <atomic>
#include <cstdint>

namespace nanobox {

/// What a node counts since its daemon's start. Thread-safe.
struct NodeCounters {
  std::atomic<std::uint64_t> channel_in_bytes{0};   ///< from guests, over their channels
  std::atomic<std::uint64_t> channel_out_bytes{0};  ///< to guests
};

}  // namespace nanobox
