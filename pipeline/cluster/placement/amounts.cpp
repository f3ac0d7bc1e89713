#include "pipeline/cluster/placement/amounts.hpp"

#include <algorithm>
#include <limits>

namespace nanobox {
namespace {

constexpr auto kMost = std::numeric_limits<std::uint64_t>::max();

std::uint64_t sum(std::uint64_t left, std::uint64_t right) {
  return left > kMost - right ? kMost : left + right;
}

std::uint64_t times(std::uint64_t amount, double factor) {
  constexpr double kLargestLimit = 1e12;
  const double product = static_cast<double>(amount) * factor;
  return product > 0 ? static_cast<std::uint64_t>(std::min(product, kLargestLimit)) : 0;
}

}  // namespace

Amounts& Amounts::operator+=(const Amounts& other) {
  vcpu = sum(vcpu, other.vcpu);
  memory_mb = sum(memory_mb, other.memory_mb);
  disk_mb = sum(disk_mb, other.disk_mb);
  addresses = sum(addresses, other.addresses);
  return *this;
}

Amounts& Amounts::operator-=(const Amounts& other) {
  vcpu -= std::min(vcpu, other.vcpu);
  memory_mb -= std::min(memory_mb, other.memory_mb);
  disk_mb -= std::min(disk_mb, other.disk_mb);
  addresses -= std::min(addresses, other.addresses);
  return *this;
}

Amounts operator*(const Amounts& each, std::uint32_t count) {
  const auto product = [count](std::uint64_t amount) {
    return count != 0 && amount > kMost / count ? kMost : amount * count;
  };
  return {.vcpu = product(each.vcpu),
          .memory_mb = product(each.memory_mb),
          .disk_mb = product(each.disk_mb),
          .addresses = product(each.addresses)};
}

Amounts amounts_of(const Resources& resources, std::uint64_t addresses) {
  return {
      .vcpu = resources.vcpu, .memory_mb = resources.memory_mb, .disk_mb = resources.disk_mb, .addresses = addresses};
}

Amounts limit_of(const Amounts& capacity, const Overcommit& overcommit) {
  return {.vcpu = times(capacity.vcpu, overcommit.vcpu),
          .memory_mb = times(capacity.memory_mb, overcommit.memory),
          .disk_mb = times(capacity.disk_mb, overcommit.disk),
          .addresses = times(capacity.addresses, 1.0)};
}

}  // namespace nanobox
