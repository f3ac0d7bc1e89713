#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "config/error.hpp"
#include "pipeline/boot/network/host_table.hpp"
#include "pipeline/boot/network/remote_networks.hpp"

namespace nanobox {

/// Where an overlay is, and over which link it goes.
struct OverlaySettings {
  NetworkNames names;
  Ipv4Subnet subnet = {};
  std::string underlay;  ///< [cluster] overlay_iface
  std::shared_ptr<HostTable> table = {};
};

/// The way to other nodes' sandboxes: a VXLAN device that knows its peers and asks nobody (no learning, no flooding, no
/// ARP), a route to each part of the subnet that a peer has, and, in the host's table, the peers whose frames are taken
/// and the addresses that each group may talk with. What is wanted is kept and put in place again when other
/// programs took it away. One thread at a time; calls block and are made in the host's network namespace.
/// @errors of all: network_unavailable · not_ready: the host's table is gone
class Overlay {
public:
  /// Removes what an earlier daemon left, and begins without peers. @errors config_invalid: there is no such link, or
  /// it has no IPv4 address
  static Result<std::unique_ptr<Overlay>> start(OverlaySettings settings);
  /// Nothing of ours is left of it: for who starts without one.
  static Result<void> remove(const NetworkNames& names);

  /// This node's on the underlay: how its peers know it.
  std::uint32_t address() const { return address_; }

  /// From now on these and no others. What of a peer's parts lies outside the subnet is not routed.
  Result<void> put_peers(const std::vector<OverlayPeer>& peers);
  /// From now on the group may talk with these and no others. @param group  of GroupIds, never 0
  Result<void> put_group(std::uint32_t group, const std::set<std::uint32_t>& addresses);

  /// Makes the device anew where it is gone (with its underlay, for instance), and what failed to be put.
  /// @param table_was_replaced  the table holds nothing of what was put
  Result<void> look_after(bool table_was_replaced);

private:
  Overlay(OverlaySettings settings, std::uint32_t address) : settings_(std::move(settings)), address_(address) {}
  Result<void> make_device();
  Result<void> put_routes(const OverlayPeer& peer) const;
  Result<void> remove_route(const OverlayPeer& peer, const Ipv4Subnet& part) const;
  Result<void> remove_neighbour(const OverlayPeer& peer) const;
  Result<void> change_table(const std::vector<NftElement>& removed, const std::vector<NftElement>& added);

  OverlaySettings settings_;
  std::uint32_t address_;
  int link_ = 0;
  std::map<std::uint32_t, OverlayPeer> peers_;               ///< by address
  std::map<std::uint32_t, std::set<std::uint32_t>> groups_;  ///< addresses by group
  bool device_is_stale_ = false;                             ///< not all of `peers_` is in place
  bool table_is_stale_ = false;
};

}  // namespace nanobox
