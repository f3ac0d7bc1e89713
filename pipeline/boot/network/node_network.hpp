#pragma once

#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "config/error.hpp"
#include "config/unique_fd.hpp"
#include "pipeline/boot/network/dns/forwarder.hpp"
#include "pipeline/boot/network/dns/name_pattern.hpp"
#include "pipeline/boot/network/group_ids.hpp"
#include "pipeline/boot/network/host_network.hpp"
#include "pipeline/boot/network/overlay.hpp"
#include "pipeline/boot/network/remote_networks.hpp"
#include "pipeline/boot/network/vm_network.hpp"

namespace nanobox {

/// What one sandbox may reach, and by which names.
struct SandboxRules {
  NetworkPolicy policy = {};                    ///< but for its group's number, which is found by name
  std::string group = {};                       ///< of `internal`, with its owner; never empty there
  std::vector<NamePattern> allow_domains = {};  ///< of `internet`
};

/// The networks of all VMs of one node by VM id, the resolver that their guests ask, and a stock of networks made
/// ahead. Thread-safe. Calls block, for some tenths of a millisecond where nothing else is said, and are made in
/// the host's network namespace.
/// @errors of all: network_unavailable
class NodeNetwork {
public:
  /// Takes the bridge's name for this process, sets the host's side up and shows that a VM's network can be made.
  /// @errors config_invalid: as HostNetwork::set_up · network_unavailable: no right to, or another daemon has the
  /// bridge
  static Result<std::shared_ptr<NodeNetwork>> start(const HostNetworkSettings& settings);
  ~NodeNetwork();
  NodeNetwork(const NodeNetwork&) = delete;
  NodeNetwork& operator=(const NodeNetwork&) = delete;

  /// Why guests' names are not resolved; empty: they are.
  const std::string& resolver_problem() const { return resolver_problem_; }

  /// This node's address on [cluster] overlay_iface; nothing: its sandboxes reach none of other nodes. Then
  /// `overlay_problem` says why, unless none was asked for.
  std::optional<std::uint32_t> overlay_address() const;
  const std::string& overlay_problem() const { return overlay_problem_; }

  /// A VM of an earlier daemon. Before `remove_leftovers`.
  /// @param inside  /proc/<VMM>/ns/net
  Result<void> adopt(const std::string& id, NetworkNamespace inside, std::uint32_t address, const SandboxRules& rules);
  /// Removes what no adopted VM owns. Before the first `take`.
  Result<RemovedLeftovers> remove_leftovers();

  /// For a VMM's start.
  struct Opened {
    UniqueFd network_namespace, tap;
  };
  /// A network for that VM, from the stock or made now (some milliseconds); nothing passes. Nothing happens where it
  /// has one.
  Result<void> take(const std::string& id);
  Result<Opened> open(const std::string& id) const;
  /// Gives the VM its address and rules, or other rules; after a failure the former rules hold, or nothing passes.
  /// @param address  of an AddressPool
  Result<void> attach(const std::string& id, std::uint32_t address, const SandboxRules& rules);
  /// Its network is another VM's from now on, with all that it has.
  Result<void> rename(const std::string& from, const std::string& to);
  /// Nothing passes any more; the rest goes with the VMM. Nothing happens where there is none.
  void release(const std::string& id);

  /// What other nodes have: their names are resolved for their groups, and where there is an overlay they are reached.
  /// What fails is tried again by `look_after`.
  Result<void> take_remote(const RemoteNetworks& told);

  /// Makes networks until so many wait.
  Result<void> fill(std::size_t count);
  /// Puts back what other programs took away (`nft flush ruleset`), and follows the default route to another uplink.
  Result<void> look_after();
  /// Lets go of the stock and, where no VM is left, of everything on the host. The resolver ends.
  void stop();

private:
  struct Held {
    explicit Held(VmNetwork made) : network(std::move(made)) {}
    mutable std::mutex mutex;  ///< around calls of `network`, and for `rules`
    VmNetwork network;
    SandboxRules rules;  ///< with the group's number
    bool in_group = false;
    bool released = false;  ///< nobody knows it any more: it stays detached
  };
  NodeNetwork(UniqueFd name, HostNetworkSettings settings, HostNetwork host)
      : name_(std::move(name)), settings_(std::move(settings)), host_(std::move(host)) {}
  Result<VmNetwork> make_one() const;
  Result<std::shared_ptr<Held>> find(const std::string& id) const;
  Result<void> allow_forwarding();
  void start_resolver();
  void start_overlay();
  Result<void> put_group(const std::string& name);
  void put_group_or_warn(const std::string& name);
  std::deque<VmNetwork> take_stock();
  std::shared_ptr<const DnsClient> client_at(std::uint32_t address) const;
  Result<void> allow(const DnsClient& client, std::span<const AllowedAddress> addresses) const;
  std::optional<NamedSandbox> internal_sandbox(std::string_view id) const;

  const UniqueFd name_;  ///< an abstract socket: one daemon a bridge and network namespace
  const HostNetworkSettings settings_;
  mutable std::mutex host_mutex_;  ///< around calls of `host_`, but for its settings
  HostNetwork host_;
  bool forwards_ = false;
  bool to_reapply_ = false;  ///< the table was put back, and not yet all that belongs into it
  bool stopped_ = false;

  std::mutex overlay_mutex_;  ///< around calls of `overlay_`; taken after a VM's and before `mutex_`
  std::unique_ptr<Overlay> overlay_;
  std::map<std::string, std::uint32_t> overlay_numbers_;  ///< of the groups that `overlay_` knows
  std::string overlay_problem_;

  mutable std::mutex mutex_;  ///< of what follows; never held while a call blocks
  std::map<std::string, std::shared_ptr<Held>> by_id_;
  std::map<std::uint32_t, std::shared_ptr<const DnsClient>> clients_;
  std::deque<VmNetwork> stock_;
  GroupIds groups_;
  std::map<std::string, std::vector<RemoteMember>> remote_groups_;
  std::map<std::string, NamedSandbox, std::less<>> remote_by_id_;

  std::string resolver_problem_;
  std::unique_ptr<DnsForwarder> resolver_;
};

}  // namespace nanobox
