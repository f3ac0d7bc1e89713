#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "pipeline/template.hpp"

namespace nanobox {

/// What a sandbox takes of a node, or a node has: virtual processors, MiB, MiB, and addresses of its subnet.
struct Amounts {
  std::uint64_t vcpu = 0;
  std::uint64_t memory_mb = 0;
  std::uint64_t disk_mb = 0;
  std::uint64_t addresses = 0;
  bool operator==(const Amounts&) const = default;

  /// Adds; what does not fit stays at the largest number.
  Amounts& operator+=(const Amounts& other);
  /// Subtracts; never below 0.
  Amounts& operator-=(const Amounts& other);
};

inline Amounts operator+(Amounts left, const Amounts& right) {
  return left += right;
}
inline Amounts operator-(Amounts left, const Amounts& right) {
  return left -= right;
}
/// `count` times as much.
Amounts operator*(const Amounts& each, std::uint32_t count);

/// What one sandbox of this size takes.
/// @param addresses  0 where it gets no interface
Amounts amounts_of(const Resources& resources, std::uint64_t addresses = 1);

/// How much more is given away than there is. Addresses are never given twice.
struct Overcommit {
  double vcpu = 8.0;
  double memory = 1.0;
  double disk = 4.0;
  bool operator==(const Overcommit&) const = default;
};

/// How much may be given away of `capacity`. A factor that is no positive number gives nothing.
Amounts limit_of(const Amounts& capacity, const Overcommit& overcommit);

/// Which of the amounts are meant: bit 0 vcpu, 1 memory, 2 disk, 3 addresses.
using AmountBits = std::uint8_t;
inline constexpr std::array<std::string_view, 4> amount_names{"vcpu", "memory", "disk", "addresses"};

/// Those of which fewer than `wanted` are left of `limit` beside `occupied`; 0: it fits. Amounts that are not wanted
/// are never short, even where more is occupied than there is.
inline AmountBits shortage(const Amounts& limit, const Amounts& occupied, const Amounts& wanted) {
  const auto is_short = [](std::uint64_t of, std::uint64_t taken, std::uint64_t more) {
    return more > 0 && (more > of || taken > of - more);
  };
  return static_cast<AmountBits>(is_short(limit.vcpu, occupied.vcpu, wanted.vcpu) |
                                 is_short(limit.memory_mb, occupied.memory_mb, wanted.memory_mb) << 1 |
                                 is_short(limit.disk_mb, occupied.disk_mb, wanted.disk_mb) << 2 |
                                 is_short(limit.addresses, occupied.addresses, wanted.addresses) << 3);
}

}  // namespace nanobox
