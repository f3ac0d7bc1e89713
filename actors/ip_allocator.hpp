#pragma once

#include <map>
#include <optional>

#include "actors/concerns.hpp"
#include "actors/services.hpp"
#include "pipeline/boot/network/address_parts.hpp"

namespace nanobox {

struct IpAllocatorState {
  static inline const char* name = "ip_allocator";
  SharedServices services;
  std::optional<AddressParts> pool;            ///< none: this host makes no interfaces
  std::map<std::string, std::uint32_t> taken;  ///< by VM id
  bool may_grow = false;                       ///< another part comes when the ones that are there run low
  struct Waiting {
    std::string id;
    PlacedBoot placed;
    caf::typed_response_promise<AddressedBoot> promise;
    std::chrono::steady_clock::time_point until;
  };
  std::vector<Waiting> waiting;  ///< for another part
};

/// Gives each VM that may become a sandbox an address of [network] subnet; a sandbox that had one gets it again where
/// it is free. Who finds none waits a little where another part of the subnet is to come. Leases and parts are kept in
/// the node's store, which a successor or the next daemon reads. Detached: it writes there.
IpAllocatorActor::behavior_type ip_allocator(IpAllocatorActor::stateful_pointer<IpAllocatorState> self,
                                             SharedServices services);

}  // namespace nanobox
