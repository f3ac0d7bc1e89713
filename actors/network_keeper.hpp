#pragma once

#include "actors/concerns.hpp"
#include "actors/services.hpp"
#include "pipeline/boot/network/node_network.hpp"

namespace nanobox {

struct NetworkKeeperState {
  static inline const char* name = "network_keeper";
  SharedServices services;
};

/// Gives VMs that boot their networks and sandboxes their rules, keeps some networks ready, and looks whether the
/// host's side is as it was made. Detached: netlink blocks.
NetworkKeeperActor::behavior_type network_keeper(NetworkKeeperActor::stateful_pointer<NetworkKeeperState> self,
                                                 SharedServices services);

/// What the sandbox' `network` means on the host. @errors invalid_value: it was not checked when it was asked for
Result<SandboxRules> rules_of(const Sandbox& sandbox);

/// Gives a VM that has become the sandbox its address and rules. Blocking, briefly. Nothing happens where VMs have no
/// interface. @errors network_unavailable
Result<void> attach_network(const Services& services, const Sandbox& sandbox);

/// For the driver.
inline std::optional<VmInterface> to_interface(const std::optional<NodeNetwork::Opened>& opened) {
  if (!opened) return std::nullopt;
  return VmInterface{.network_namespace = opened->network_namespace.get(), .tap = opened->tap.get()};
}

/// The networks of the VMs that an earlier daemon left, then the removal of what no VM owns. Blocking; before any other
/// network is made. @errors store_failed · network_unavailable
Result<void> adopt_networks(const Services& services);

}  // namespace nanobox
