#pragma once

#include <set>
#include <string>

#include "config/error.hpp"
#include "config/ipv4_subnet.hpp"

namespace nanobox {

/// The lowest part of the cluster's subnet that is not among `taken` (CIDR texts). @errors no_address
Result<Ipv4Subnet> free_subnet_part(const Ipv4Subnet& subnet, const std::set<std::string>& taken);

}  // namespace nanobox
