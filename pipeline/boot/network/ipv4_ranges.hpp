#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "config/error.hpp"
#include "config/ipv4_subnet.hpp"

namespace nanobox {

/// Addresses from `first` to `last`, both included, in host byte order.
struct Ipv4Range {
  std::uint32_t first = 0;
  std::uint32_t last = 0;
  bool operator==(const Ipv4Range&) const = default;
};

/// Sorted, disjoint and not adjacent: what an nftables interval set takes.
using Ipv4Ranges = std::vector<Ipv4Range>;

Ipv4Range range_of(const Ipv4Subnet& prefix);
Ipv4Ranges ranges_of(std::span<const Ipv4Subnet> prefixes);
/// What is in `from` and not in `cut`.
Ipv4Ranges without(const Ipv4Ranges& from, const Ipv4Ranges& cut);
bool contains(const Ipv4Ranges& ranges, std::uint32_t address);

/// Reads an entry of `allow_cidrs` or `deny_cidrs`: "1.2.3.0/24", or one address; any prefix length.
/// @errors invalid_value: no IPv4 network, or bits set behind the prefix (the mend is the network meant)
Result<Ipv4Subnet> parse_cidr(std::string_view text);

/// What no sandbox reaches in mode `internet`: this network, private, shared, loopback, link-local, benchmarking,
/// multicast and reserved addresses.
std::span<const Ipv4Subnet> unreachable_networks();

}  // namespace nanobox
