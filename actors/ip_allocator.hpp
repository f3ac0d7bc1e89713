#pragma once

#include <map>
#include <optional>

#include "actors/concerns.hpp"
#include "actors/services.hpp"
#include "pipeline/boot/network/address_pool.hpp"

namespace nanobox {

struct IpAllocatorState {
  static inline const char* name = "ip_allocator";
  SharedServices services;
  std::optional<AddressPool> pool;             ///< none: this host makes no interfaces
  std::map<std::string, std::uint32_t> taken;  ///< by VM id
};

/// Gives each VM that may become a sandbox an address of [network] subnet; a sandbox that had one gets it again where
/// it is free. Leases are kept in the node's store, which a successor or the next daemon reads. Detached: it writes
/// there.
IpAllocatorActor::behavior_type ip_allocator(IpAllocatorActor::stateful_pointer<IpAllocatorState> self,
                                             SharedServices services);

}  // namespace nanobox
