#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>

#include "http/served_request.hpp"

namespace nanobox::http {

/// A request that was refused for want of capacity.
struct CapacityRefusal {
  std::string code;
  std::string detail;
  std::string method;
  std::string route;
  std::string owner;
  std::string subject;
  std::uint64_t more = 0;  ///< like it, since the last one that was told
};

/// Picks those refusals (503 for want of room, addresses, network or disk; 429) out of the served requests. Of equal
/// ones (owner, code, route) it tells one a second and counts the others: a client that tries in a loop must not push
/// out everything else. Thread-safe.
class CapacityRefusals {
public:
  using Clock = std::chrono::steady_clock;
  static constexpr std::chrono::seconds kApart{1};

  std::optional<CapacityRefusal> seen(const ServedRequest& request, Clock::time_point now = Clock::now());

private:
  struct Recent {
    Clock::time_point told;
    std::uint64_t more = 0;
  };
  std::mutex mutex_;
  std::map<std::string, Recent> recent_;
};

}  // namespace nanobox::http
