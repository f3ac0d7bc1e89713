#pragma once

#include <set>
#include <string>
#include <vector>

#include "config/error.hpp"
#include "config/ipv4_subnet.hpp"
#include "pipeline/boot/network/host_ruleset.hpp"
#include "pipeline/boot/network/names.hpp"
#include "pipeline/boot/network/vm_network.hpp"

namespace nanobox {

struct HostNetworkSettings {
  std::string bridge_name = "nanobox-br0";
  Ipv4Subnet subnet = {};
  std::string host_iface = {};  ///< empty: the default route's, or none where there is no default route
  NetworkLimits limits = {};
  std::string overlay_iface = {};  ///< the link that reaches other nodes' sandboxes; empty: they are not reached
};

/// What `reconcile` removed.
struct RemovedLeftovers {
  std::vector<std::string> links;
  std::vector<HostAttachment> attachments;
};

/// What the VMs of one daemon share on the host: a bridge without ports that holds the gateway's address, an
/// unreachable route for the subnet (so that no address of it leaves by another), one nftables table. It stays when
/// this object goes. All calls block and are made in the host's network namespace. Calls of one object, one thread at a
/// time; VmNetwork objects may be used meanwhile, but for `set_up` and `reconcile`.
/// @errors of all: network_unavailable
class HostNetwork {
public:
  /// Makes what is missing and adopts what is there, also half of it. The table is replaced in one transaction that
  /// keeps the sandboxes it holds. Does not touch net.ipv4.ip_forward: see `forwards_packets`.
  /// @errors config_invalid: the subnet collides with a route of the host; a link that is not ours has the bridge's
  /// name
  static Result<HostNetwork> set_up(const HostNetworkSettings& settings);

  /// What `set_up` would say of the subnet, without changing anything. @errors config_invalid
  static Result<void> check_subnet_is_free(const HostNetworkSettings& settings);

  const VmNetworkSettings& vm_settings() const noexcept { return vm_; }
  std::uint32_t gateway() const;
  /// Where `internet` leaves the host; empty: nowhere.
  const std::string& uplink() const noexcept { return uplink_; }
  /// Looks for the uplink anew: `set_up` found none, or the default route changed.
  Result<void> refresh_uplink();

  /// Whether the table is there: other programs' `flush ruleset` takes it away. Then `load_table`, and
  /// VmNetwork::reapply for each VM. Costs one message.
  Result<bool> intact() const { return vm_.table->is_there(); }
  /// Replaces the table in one transaction that keeps the sandboxes it holds.
  Result<void> load_table();

  /// The sandboxes that the table holds.
  Result<std::vector<HostAttachment>> attachments() const;
  /// Removes every link and every element of ours whose link is not among `live`. For the start, before a VmNetwork is
  /// made: one that is just being made would be taken for a leftover.
  Result<RemovedLeftovers> reconcile(const std::set<std::string>& live) const;
  /// Removes everything of ours, VMs' links included.
  static Result<void> remove(const HostNetworkSettings& settings);

private:
  HostNetwork(HostNetworkSettings settings, VmNetworkSettings vm)
      : settings_(std::move(settings)), vm_(std::move(vm)) {}
  Result<void> make_bridge();
  Result<std::string> find_uplink() const;

  HostNetworkSettings settings_;
  VmNetworkSettings vm_;
  std::string uplink_;
};

}  // namespace nanobox
