#include "actors/cluster/remote_network_keeper.hpp"

#include "config/log.hpp"
#include "pipeline/boot/network/node_network.hpp"

namespace nanobox {

RemoteNetworkKeeperActor::behavior_type remote_network_keeper(
    RemoteNetworkKeeperActor::stateful_pointer<RemoteNetworkKeeperState> self, SharedServices services) {
  self->state.services = std::move(services);
  return {
      [self](network_atom, const RemoteNetworks& told) {
        const auto& network = self->state.services->network;
        if (!network) return;
        if (const auto taken = network->take_remote(told); !taken)
          log_warn(LogComponent::network, {}, "{}", describe(taken.error()));
      },
  };
}

}  // namespace nanobox
