#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <vector>

#include "config/error.hpp"
#include "config/ipv4_subnet.hpp"

namespace nanobox {

/// The addresses of sandboxes, in memory: never the network's, the gateway's or the broadcast address. A released one
/// rests before it is given again, so that what outer hosts still send to it reaches nobody. Time is the caller's.
/// Constant cost for `take` unless the pool is nearly full. Not thread-safe.
class AddressPool {
public:
  using Clock = std::chrono::steady_clock;

  AddressPool(Ipv4Subnet subnet, std::chrono::seconds rest);

  /// @errors no_address, transient when one is resting
  Result<std::uint32_t> take(Clock::time_point now);
  /// Takes a given one: a sandbox that is there already, resting or not. @errors conflict when it is taken ·
  /// invalid_value when it is none of ours
  Result<void> reserve(std::uint32_t address);
  /// Nothing happens when it is not taken.
  void release(std::uint32_t address, Clock::time_point now);

  std::uint32_t size() const { return size_; }
  std::uint32_t taken() const { return taken_; }
  /// Neither taken nor resting.
  std::uint32_t free(Clock::time_point now) {
    wake(now);
    return free_;
  }
  bool is_taken(std::uint32_t address) const;

private:
  enum class State : std::uint8_t { free, taken, resting };
  struct Resting {
    std::uint32_t index;
    Clock::time_point until;
  };
  bool holds(std::uint32_t address) const { return address - first_ < size_; }
  void wake(Clock::time_point now);

  Ipv4Subnet subnet_;
  std::chrono::seconds rest_;
  std::uint32_t first_;
  std::uint32_t size_;
  std::uint32_t taken_ = 0;
  std::uint32_t free_;
  std::uint32_t next_ = 0;
  std::vector<State> states_;
  std::deque<Resting> resting_;
};

}  // namespace nanobox
