#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "config/ipv4_subnet.hpp"

namespace nanobox {

enum class NetworkMode : std::uint8_t {
  isolated,  ///< nothing in or out
  internal,  ///< sandboxes of the same group, and the resolver
  internet,  ///< out through NAT to public addresses, and the resolver
};

constexpr std::string_view to_string(NetworkMode mode) {
  switch (mode) {
    case NetworkMode::isolated:
      return "isolated";
    case NetworkMode::internal:
      return "internal";
    case NetworkMode::internet:
      return "internet";
  }
  return "";
}

/// What one sandbox may reach; may be changed while it runs.
struct NetworkPolicy {
  NetworkMode mode = NetworkMode::isolated;
  std::uint32_t group = 0;                   ///< of GroupIds; looked at for `internal` only
  std::vector<Ipv4Subnet> allow_cidrs = {};  ///< `internet` only; prefixes of any length
  std::vector<Ipv4Subnet> deny_cidrs = {};   ///< `internet` only; cuts out of everything, allowed names included
  bool allow_domains = false;         ///< `internet` only; what VmNetwork::allow_addresses names is allowed as well
  std::uint32_t rate_limit_mbps = 0;  ///< each direction; 0: none

  /// Only what is listed may be reached.
  bool narrowed() const { return !allow_cidrs.empty() || allow_domains; }
};

/// Limits that hold for a VM as long as it lives.
struct NetworkLimits {
  std::uint32_t max_connections = 2048;       ///< connections the VM has open at once, both ways
  std::uint32_t packets_per_second = 100000;  ///< each direction
};

}  // namespace nanobox
