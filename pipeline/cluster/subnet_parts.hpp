#pragma once

#include <cstdint>
#include <set>
#include <string>

#include "config/error.hpp"
#include "config/ipv4_subnet.hpp"

namespace nanobox {

/// The lowest part of the cluster's subnet that has no address in common with one of `taken` (CIDR texts).
/// @errors no_address
Result<Ipv4Subnet> free_subnet_part(const Ipv4Subnet& subnet, const std::set<std::string>& taken);

/// Whether a node that has so few addresses left should get another part: less than an eighth.
bool runs_low(std::uint32_t free, std::uint32_t of);

}  // namespace nanobox
