#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "config/error.hpp"
#include "config/ipv4_subnet.hpp"
#include "pipeline/boot/network/netlink.hpp"

namespace nanobox {

bool overlap(const Ipv4Subnet& a, const Ipv4Subnet& b);

/// How many addresses sandboxes can have: all but the network's, the gateway's and the broadcast address.
std::uint32_t sandbox_addresses(const Ipv4Subnet& subnet);

/// The gateway: the first address behind the network's own.
inline std::uint32_t gateway_of(const Ipv4Subnet& subnet) {
  return subnet.base + 1;
}

/// Whether `subnet` is long enough for sandboxes (a /12 to /30) and no network that this host already has a route to.
/// @param routes  the host's, without our own
/// @errors config_invalid: the reason names the route; the mend names a network of this size that is free
Result<void> check_subnet(const Ipv4Subnet& subnet, std::span<const RouteInfo> routes);

}  // namespace nanobox
