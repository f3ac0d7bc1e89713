#pragma once

#include <mutex>
#include <string>
#include <string_view>

#include "config/clock.hpp"

namespace nanobox {

/// Ids as of make_id, each greater than the one before, also within a millisecond and when the clock is set back.
/// Thread-safe.
class AscendingIds {
public:
  explicit AscendingIds(std::string prefix) : prefix_(std::move(prefix)) {}
  std::string next();

private:
  std::mutex mutex_;
  const std::string prefix_;
  std::string last_;
};

/// The next greater id of the same form; of the greatest that there is, itself.
std::string id_behind(std::string id);

/// What every id made at `time` or later is not less than.
std::string least_id_at(std::string_view prefix, WallTime time);

}  // namespace nanobox
