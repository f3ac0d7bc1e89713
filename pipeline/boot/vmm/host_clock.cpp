#include "pipeline/boot/vmm/host_clock.hpp"

#include <ctime>
#include <limits>
#include <thread>

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

namespace nanobox {

namespace {

std::uint64_t read_tsc() {
#if defined(__x86_64__)
  unsigned core = 0;
  return __rdtscp(&core);
#else
  return 0;
#endif
}

std::int64_t raw_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC_RAW, &now);
  return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

}  // namespace

HostClock::HostClock() : first_(take()) {}

// Of several pairs the one read in the shortest time: nothing came in between.
HostClock::Sample HostClock::take() {
  Sample best;
  std::uint64_t shortest = std::numeric_limits<std::uint64_t>::max();
  for (int i = 0; i < 16; ++i) {
    const auto before = read_tsc();
    const auto now = raw_ns();
    const auto after = read_tsc();
    if (after - before >= shortest) continue;
    shortest = after - before;
    best = {.tsc = before + (after - before) / 2, .raw_ns = now};
  }
  return best;
}

std::optional<std::uint64_t> HostClock::tsc_khz() const {
  if (first_.tsc == 0) return std::nullopt;
  constexpr std::int64_t least_ns = 20'000'000;
  const auto age_ns = raw_ns() - first_.raw_ns;
  if (age_ns < least_ns) std::this_thread::sleep_for(std::chrono::nanoseconds(least_ns - age_ns));
  const auto last = take();
  const auto khz =
      static_cast<long double>(last.tsc - first_.tsc) * 1e6L / static_cast<long double>(last.raw_ns - first_.raw_ns);
  return static_cast<std::uint64_t>(khz + 0.5L);
}

}  // namespace nanobox
