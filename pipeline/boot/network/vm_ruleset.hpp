#pragma once

#include <chrono>
#include <cstdint>
#include <span>
#include <string>

#include "config/ipv4_subnet.hpp"
#include "pipeline/boot/network/ipv4_ranges.hpp"
#include "pipeline/boot/network/nft_batch.hpp"
#include "pipeline/boot/network/policy.hpp"

namespace nanobox {

/// An address that a name stood for, and for how long.
struct NamedAddress {
  std::uint32_t address = 0;
  std::chrono::seconds lifetime{0};
};

/// The tables inside a VM's namespace: what the guest may send at all, its outer address, what it may reach.
namespace vm_ruleset {

NftTable table();

/// nft commands for a namespace that has its TAP and its veth, and no address yet: nothing passes.
std::string text(const Ipv4Subnet& subnet, const NetworkLimits& limits);

/// What a policy lets the VM reach beside the resolver.
struct Reach {
  Ipv4Ranges allowed;
  Ipv4Ranges denied;  ///< even to names that are allowed
  bool operator==(const Reach&) const = default;
};
Reach reach(const NetworkPolicy& policy, const Ipv4Subnet& subnet);

/// Gives the VM its outer address and a policy. What was allowed by name before is forgotten.
/// @param epoch  another one than before, never 0: connections to names are looked at anew
NftBatch attach(std::uint32_t address, const NetworkPolicy& policy, const Ipv4Subnet& subnet, std::uint32_t epoch);
NftBatch change(const NetworkPolicy& policy, const Ipv4Subnet& subnet, std::uint32_t epoch);
/// Takes the address away: nothing passes.
NftBatch detach();
NftBatch allow(std::span<const NamedAddress> addresses);

}  // namespace vm_ruleset
}  // namespace nanobox
