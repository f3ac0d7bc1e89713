#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "config/error.hpp"

namespace nanobox {

/// How far one layer has come.
struct LayerProgress {
  std::string digest;
  std::uint64_t done_bytes = 0;
  std::uint64_t total_bytes = 0;
  bool operator==(const LayerProgress&) const = default;
};

/// Progress of one stage, as the API shows it.
struct StageProgress {
  std::uint64_t done_bytes = 0;
  std::uint64_t total_bytes = 0;           ///< 0: not known
  std::string detail;                      ///< a few words for people, e.g. "layer 2 of 7"
  std::vector<LayerProgress> layers = {};  ///< where they come side by side; by position, equal ones once
  bool operator==(const StageProgress&) const = default;
};

/// What a stage's work needs from the run it belongs to. Copyable; the callbacks may be called from any thread.
struct StageContext {
  std::function<void(const StageProgress&)> report = [](const StageProgress&) {};
  std::stop_token stop;  ///< requested on cancellation: return `cancelled` soon
  std::chrono::steady_clock::time_point deadline = std::chrono::steady_clock::time_point::max();

  /// An error (`cancelled` or `deadline_exceeded`) once the work should end, else success.
  Result<void> check(const std::string& attempted) const {
    if (stop.stop_requested())
      return fail({.code = ErrorCode::cancelled,
                   .attempted = attempted,
                   .subject = "",
                   .reason = "it was cancelled",
                   .mend = ""});
    if (std::chrono::steady_clock::now() >= deadline)
      return fail({.code = ErrorCode::deadline_exceeded,
                   .attempted = attempted,
                   .subject = "",
                   .reason = "the stage's deadline passed",
                   .mend = "",
                   .transient = true});
    return {};
  }
};

}  // namespace nanobox
