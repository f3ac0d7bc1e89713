#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "pipeline/boot/network/host_network.hpp"

namespace nanobox {

/// What was found of one thing that sandboxes' networks need of the host.
struct HostCheck {
  std::string name;
  bool ok = false;
  std::string detail;
  std::string mend = {};
};

/// Looks, without changing anything: rights, /dev/net/tun, the subnet, forwarding, bridges' netfilter, other firewalls,
/// connection tracking. Blocking.
std::vector<HostCheck> check_host_network(const HostNetworkSettings& settings);

/// The chains that drop what the host forwards unless a rule of theirs accepts it, as "ip filter FORWARD".
/// @param listing  of `nft list chains`
std::vector<std::string> dropping_forward_chains(std::string_view listing);

}  // namespace nanobox
