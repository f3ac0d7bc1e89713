#pragma once

#include <vector>

#include "pipeline/boot/network/address_pool.hpp"

namespace nanobox {

/// The parts of the cluster's subnet that one node gives addresses from; there may come more. Not thread-safe.
class AddressParts {
public:
  using Clock = AddressPool::Clock;

  /// @param rest  of a released address before it is given again
  AddressParts(const std::vector<Ipv4Subnet>& parts, std::chrono::seconds rest);

  /// From now on addresses come from these. One that is not among them gives no more, and is forgotten with its last
  /// address that is taken.
  void set(const std::vector<Ipv4Subnet>& parts);
  /// Those that give addresses.
  std::vector<Ipv4Subnet> open() const;

  /// As AddressPool: from the first part that has one.
  Result<std::uint32_t> take(Clock::time_point now);
  Result<void> reserve(std::uint32_t address);
  void release(std::uint32_t address, Clock::time_point now);

  std::uint32_t size() const;  ///< of the open ones together
  std::uint32_t taken() const;
  std::uint32_t free(Clock::time_point now);  ///< neither taken nor resting

private:
  struct Part {
    Ipv4Subnet subnet;
    AddressPool pool;
    bool open = true;
  };
  void forget_empty();

  std::chrono::seconds rest_;
  std::vector<Part> parts_;
};

}  // namespace nanobox
