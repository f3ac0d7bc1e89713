#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>

#include "config/error.hpp"
#include "config/unique_fd.hpp"
#include "pipeline/boot/network/host_table.hpp"
#include "pipeline/boot/network/names.hpp"
#include "pipeline/boot/network/netlink.hpp"
#include "pipeline/boot/network/network_namespace.hpp"
#include "pipeline/boot/network/policy.hpp"
#include "pipeline/boot/network/tap.hpp"
#include "pipeline/boot/network/vm_ruleset.hpp"

namespace nanobox {

/// What all VMs of one daemon have in common.
struct VmNetworkSettings {
  NetworkNames names;
  Ipv4Subnet subnet = {};
  std::shared_ptr<HostTable> table = {};
  NetworkLimits limits = {};
  std::uint32_t mtu = 1500;
};

/// The network of one VM: a namespace with its TAP, and a veth to the host. Made without an address, as stock; nothing
/// passes until `attach`. Ends, with all that belongs to it but the host table's elements (`detach` removes those),
/// when this object and the VMM inside are gone; the kernel takes the links away a little later. Move-only.
///
/// All calls block and are made in the host's network namespace; one thread at a time for one object, different objects
/// side by side. Each sends a number of messages that does not grow with the number of VMs, and returns what it sent.
/// @errors of all: network_unavailable · not_ready when HostNetwork::set_up was not called (or the table was removed)
class VmNetwork {
public:
  VmNetwork(VmNetwork&&) noexcept = default;
  VmNetwork& operator=(VmNetwork&&) noexcept = default;
  ~VmNetwork() = default;

  static Result<VmNetwork> make(const VmNetworkSettings& settings);
  /// After a restart. @param attachment  what HostNetwork::attachments tells of it. Call `change` next, for the lists
  /// and limits are not known. @param inside  /proc/<VMM>/ns/net
  static Result<VmNetwork> adopt(const VmNetworkSettings& settings, NetworkNamespace inside, HostAttachment attachment);

  /// The host's end of a namespace's veth, where the table does not tell. @errors network_unavailable
  static Result<std::string> find_link(const NetworkNamespace& inside);

  /// For setns(2) in the VMM: Launch::joins_network.
  int namespace_fd() const noexcept { return inside_.fd(); }
  /// The host's end of the veth: what HostNetwork::reconcile knows it by.
  const std::string& link() const noexcept { return link_; }
  std::optional<std::uint32_t> address() const;

  /// The TAP for a VMM that takes a descriptor; one at a time. @errors network_unavailable
  Result<UniqueFd> open_tap(TapFrames frames);
  /// Lets a user open the TAP by its name (vm_side::tap) from inside the namespace.
  Result<void> give_tap_to(uid_t user);

  /// @param address  of an AddressPool; its former owner must be detached. @errors invalid_value when it is attached
  Result<NetlinkTraffic> attach(std::uint32_t address, const NetworkPolicy& policy);
  /// Another mode, lists or rate while it runs. What is not allowed any more ends with its next packet; at no moment
  /// more is allowed than by one of the two policies.
  Result<NetlinkTraffic> change(const NetworkPolicy& policy);
  /// Puts everything of an attached VM in place again, whatever is there: after HostNetwork::intact said no.
  Result<NetlinkTraffic> reapply(const NetworkPolicy& policy);
  /// Nothing passes any more, and the address may rest. Nothing happens when it is not attached.
  Result<NetlinkTraffic> detach();
  /// Addresses that an allowed name stands for (policy.allow_domains). Connections made while they are allowed go on
  /// behind their lifetime. Thread-safe beside every other call of this object.
  Result<NetlinkTraffic> allow_addresses(std::span<const NamedAddress> addresses) const;

private:
  /// Sockets into the namespace, so that no call needs a thread of its own there.
  struct Door {
    std::mutex mutex;
    NftSocket rules;
    Netlink links;
  };
  VmNetwork(VmNetworkSettings settings, NetworkNamespace inside, std::string link)
      : settings_(std::move(settings)), inside_(std::move(inside)), link_(std::move(link)) {}
  Result<void> open_door();
  Result<void> prepare_host_end();
  Result<void> prepare_inside();
  Result<NetlinkTraffic> apply_inside(NftBatch batch, std::uint32_t mbps);
  Result<NetlinkTraffic> route(std::uint32_t address, bool present) const;
  Result<NetlinkTraffic> put_on_host(const std::optional<HostAttachment>& wanted);

  VmNetworkSettings settings_;
  NetworkNamespace inside_;
  std::unique_ptr<Door> door_;
  std::string link_;
  /// From the start until it is asked for: one that is closed may stay open in a child that is just being forked.
  UniqueFd tap_;
  int link_index_ = 0;
  int tap_index_ = 0;
  int out_index_ = 0;
  std::optional<HostAttachment> attachment_;
  std::optional<std::uint32_t> mbps_ = 0;  ///< none: not known
};

}  // namespace nanobox
