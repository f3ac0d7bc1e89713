#pragma once

#include <cstdint>
#include <optional>

namespace nanobox {

/// Measures the frequency of this host's TSC against CLOCK_MONOTONIC_RAW, from its construction on: the longer it
/// lives, the better it knows. A guest that is told needs no calibration, which fails on a loaded host.
class HostClock {
public:
  HostClock();
  /// kHz; nothing where the processor has no TSC. Blocks for the first 20 ms of this object's life. Thread-safe.
  std::optional<std::uint64_t> tsc_khz() const;

private:
  struct Sample {
    std::uint64_t tsc = 0;
    std::int64_t raw_ns = 0;
  };
  static Sample take();
  Sample first_;
};

}  // namespace nanobox
