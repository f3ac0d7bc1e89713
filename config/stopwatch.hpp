#pragma once

#include <chrono>
#include <cstdint>

namespace nanobox {

/// Adds what went by in its life to a sum of microseconds.
class Stopwatch {
public:
  explicit Stopwatch(std::int64_t& sum_us) : sum_us_(sum_us) {}
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;
  ~Stopwatch() {
    sum_us_ += std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - begin_).count();
  }

private:
  std::int64_t& sum_us_;
  const std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

}  // namespace nanobox
