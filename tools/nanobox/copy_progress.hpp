#pragma once

#include <chrono>
#include <string>

namespace nanobox::cli {

/// How far a copy is, on stderr where that is a terminal: drawn over a few times a second, gone at the end.
class CopyProgress {
public:
  /// @param total_bytes  0: not known
  CopyProgress(std::string name, std::uint64_t total_bytes, bool quiet);
  ~CopyProgress();
  CopyProgress(const CopyProgress&) = delete;
  CopyProgress& operator=(const CopyProgress&) = delete;

  void add(std::size_t bytes);
  void set_total(std::uint64_t bytes) { total_bytes_ = bytes; }
  bool shown() const { return shown_; }

private:
  using Clock = std::chrono::steady_clock;
  std::string name_;
  std::uint64_t total_bytes_;
  std::uint64_t done_bytes_ = 0;
  bool shown_;
  bool drawn_ = false;
  Clock::time_point begun_ = Clock::now();
  Clock::time_point next_ = begun_ + std::chrono::milliseconds{500};
};

}  // namespace nanobox::cli
