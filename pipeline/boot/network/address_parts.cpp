#include "pipeline/boot/network/address_parts.hpp"

#include <algorithm>

namespace nanobox {

AddressParts::AddressParts(const std::vector<Ipv4Subnet>& parts, std::chrono::seconds rest) : rest_(rest) {
  set(parts);
}

void AddressParts::set(const std::vector<Ipv4Subnet>& parts) {
  for (auto& part : parts_) part.open = std::ranges::find(parts, part.subnet) != parts.end();
  for (const auto& wanted : parts)
    if (std::ranges::find(parts_, wanted, &Part::subnet) == parts_.end())
      parts_.push_back({.subnet = wanted, .pool = AddressPool(wanted, rest_)});
  forget_empty();
}

std::vector<Ipv4Subnet> AddressParts::open() const {
  std::vector<Ipv4Subnet> subnets;
  for (const auto& part : parts_)
    if (part.open) subnets.push_back(part.subnet);
  return subnets;
}

Result<std::uint32_t> AddressParts::take(Clock::time_point now) {
  Error error{.code = ErrorCode::no_address,
              .attempted = "take an address",
              .subject = "",
              .reason = "this node has no part of the subnet",
              .mend = "remove sandboxes, or set network.subnet to a larger network"};
  std::string subnets;
  for (auto& part : parts_) {
    if (!part.open) continue;
    auto taken = part.pool.take(now);
    if (taken) return taken;
    subnets += (subnets.empty() ? "" : ", ") + to_string(part.subnet);
    const bool is_sooner = taken.error().transient && taken.error().retry_after_sec < error.retry_after_sec;
    if (!error.transient || is_sooner) error = taken.error();
  }
  if (subnets.empty()) return fail(std::move(error));
  error.subject = std::move(subnets);
  error.reason = "all " + std::to_string(size()) + " addresses are taken";
  if (error.transient) error.reason += " or were released less than " + std::to_string(rest_.count()) + " s ago";
  return fail(std::move(error));
}

Result<void> AddressParts::reserve(std::uint32_t address) {
  for (auto& part : parts_)
    if (part.subnet.contains(address)) return part.pool.reserve(address);
  return fail({.code = ErrorCode::invalid_value,
               .attempted = "reserve an address",
               .subject = ipv4_text(address),
               .reason = "it is of no part of the subnet that this node has",
               .mend = ""});
}

void AddressParts::release(std::uint32_t address, Clock::time_point now) {
  for (auto& part : parts_)
    if (part.subnet.contains(address)) part.pool.release(address, now);
  forget_empty();
}

std::uint32_t AddressParts::size() const {
  std::uint32_t sum = 0;
  for (const auto& part : parts_) sum += part.open ? part.pool.size() : 0;
  return sum;
}

std::uint32_t AddressParts::taken() const {
  std::uint32_t sum = 0;
  for (const auto& part : parts_) sum += part.pool.taken();
  return sum;
}

std::uint32_t AddressParts::free(Clock::time_point now) {
  std::uint32_t sum = 0;
  for (auto& part : parts_) sum += part.open ? part.pool.free(now) : 0;
  return sum;
}

void AddressParts::forget_empty() {
  std::erase_if(parts_, [](const Part& part) { return !part.open && part.pool.taken() == 0; });
}

}  // namespace nanobox
