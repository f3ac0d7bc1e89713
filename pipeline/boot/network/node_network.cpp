#include "pipeline/boot/network/node_network.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cstring>

#include "config/log.hpp"
#include "pipeline/boot/network/subnet.hpp"

namespace nanobox {
namespace {

Error network_error(std::string attempted, std::string subject, std::string reason, std::string mend = "") {
  return {.code = ErrorCode::network_unavailable,
          .attempted = std::move(attempted),
          .subject = std::move(subject),
          .reason = std::move(reason),
          .mend = std::move(mend)};
}

/// An abstract name is the network namespace's own and goes with its holder, however that ends (unix(7)).
Result<UniqueFd> take_bridge_name(const std::string& bridge) {
  UniqueFd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket) return fail(errno_error(errno, "make a socket for", bridge, ErrorCode::network_unavailable));
  sockaddr_un name{.sun_family = AF_UNIX, .sun_path = {}};
  const auto text = "nanobox-network/" + bridge;
  std::memcpy(name.sun_path + 1, text.data(), text.size());
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + text.size());
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&name), length) == 0) return socket;
  if (errno == EADDRINUSE)
    return fail(network_error("use the bridge", bridge, "another nanoboxd on this host has it",
                              "give each its own [network] bridge_name and subnet"));
  return fail(errno_error(errno, "take the name of", bridge, ErrorCode::network_unavailable));
}

Result<UniqueFd> listen_at(std::uint32_t address, int type) {
  UniqueFd socket(::socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int on = 1;
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_port = htons(53);
  at.sin_addr.s_addr = htonl(address);
  if (!socket || ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
      ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&at), sizeof at) != 0 ||
      (type == SOCK_STREAM && ::listen(socket.get(), 64) != 0))
    return fail(errno_error(errno, "listen for guests' questions at", ipv4_text(address) + ":53",
                            ErrorCode::network_unavailable));
  return socket;
}

DnsClient::Mode dns_mode(NetworkMode mode) {
  switch (mode) {
    case NetworkMode::internal:
      return DnsClient::Mode::internal;
    case NetworkMode::internet:
      return DnsClient::Mode::internet;
    case NetworkMode::isolated:
      break;
  }
  return DnsClient::Mode::isolated;
}

std::shared_ptr<const DnsClient> client_of(const std::string& id, const SandboxRules& rules) {
  return std::make_shared<DnsClient>(DnsClient{.id = id,
                                               .mode = dns_mode(rules.policy.mode),
                                               .group = rules.group,
                                               .allow_domains = rules.allow_domains,
                                               .narrowed = rules.policy.narrowed()});
}

}  // namespace

Result<std::shared_ptr<NodeNetwork>> NodeNetwork::start(const HostNetworkSettings& settings) {
  auto name = NANOBOX_TRY(take_bridge_name(settings.bridge_name));
  auto host = NANOBOX_TRY(HostNetwork::set_up(settings));
  const std::shared_ptr<NodeNetwork> node(new NodeNetwork(std::move(name), settings, std::move(host)));
  auto first = node->make_one();
  if (!first) {
    if (const auto attachments = node->host_.attachments(); attachments && attachments->empty())
      (void)HostNetwork::remove(settings);
    return fail(first.error());
  }
  // Not kept: what no adopted VM owns is removed before anything is made.
  node->start_overlay();
  node->start_resolver();
  return node;
}

NodeNetwork::~NodeNetwork() = default;

Result<VmNetwork> NodeNetwork::make_one() const {
  const auto settings = [&] {
    const std::lock_guard lock(host_mutex_);
    return host_.vm_settings();
  }();
  return VmNetwork::make(settings);
}

/// A node without an overlay is one all the same.
void NodeNetwork::start_overlay() {
  const auto& vm = host_.vm_settings();
  if (settings_.overlay_iface.empty()) {
    if (const auto removed = Overlay::remove(vm.names); !removed) overlay_problem_ = describe(removed.error());
    return;
  }
  auto started = Overlay::start(
      {.names = vm.names, .subnet = settings_.subnet, .underlay = settings_.overlay_iface, .table = vm.table});
  if (started)
    overlay_ = std::move(*started);
  else
    overlay_problem_ = describe(started.error());
}

std::optional<std::uint32_t> NodeNetwork::overlay_address() const {
  if (!overlay_) return std::nullopt;
  return overlay_->address();
}

Result<void> NodeNetwork::take_remote(const RemoteNetworks& told) {
  const std::lock_guard overlay_lock(overlay_mutex_);
  std::set<std::string> changed;
  {
    const std::lock_guard lock(mutex_);
    const auto forget = [&](std::map<std::string, std::vector<RemoteMember>>::iterator group) {
      for (const auto& member : group->second) remote_by_id_.erase(member.id);
      changed.insert(group->first);
      remote_groups_.erase(group);
    };
    if (told.whole)
      while (!remote_groups_.empty()) forget(remote_groups_.begin());
    for (const auto& group : told.groups) {
      if (const auto known = remote_groups_.find(group.name); known != remote_groups_.end()) forget(known);
      changed.insert(group.name);
      if (group.members.empty()) continue;
      remote_groups_[group.name] = group.members;
      for (const auto& member : group.members)
        remote_by_id_[member.id] = {.address = member.address, .group = group.name};
    }
  }
  if (!overlay_) return {};
  auto outcome = overlay_->put_peers(told.peers);
  for (const auto& name : changed)
    if (auto put = put_group(name); !put) outcome = std::move(put);
  return outcome;
}

/// Lets the group's sandboxes here and elsewhere talk with each other, as far as it has any here. Under
/// `overlay_mutex_`.
Result<void> NodeNetwork::put_group(const std::string& name) {
  std::set<std::uint32_t> addresses;
  std::uint32_t number = 0;
  {
    const std::lock_guard lock(mutex_);
    number = groups_.find(name);
    if (const auto group = remote_groups_.find(name); group != remote_groups_.end())
      for (const auto& member : group->second) addresses.insert(member.address);
  }
  // A number is never given again, so what is left of a former one lets nobody in: it is only untidy.
  auto& former = overlay_numbers_[name];
  Result<void> outcome;
  if (former != 0 && former != number) outcome = overlay_->put_group(former, {});
  former = number;
  if (number == 0)
    overlay_numbers_.erase(name);
  else if (auto put = overlay_->put_group(number, addresses); !put)
    outcome = std::move(put);
  return outcome;
}

/// After a sandbox came to the group or left it.
void NodeNetwork::put_group_or_warn(const std::string& name) {
  const std::lock_guard lock(overlay_mutex_);
  if (!overlay_) return;
  if (const auto put = put_group(name); !put) log_warn(LogComponent::network, {}, "{}", describe(put.error()));
}

void NodeNetwork::start_resolver() {
  const auto gateway = host_.gateway();
  DnsSockets sockets;
  for (const int type : {SOCK_DGRAM, SOCK_STREAM}) {
    auto socket = listen_at(gateway, type);
    if (!socket) {
      resolver_problem_ = describe(socket.error());
      return;
    }
    (type == SOCK_DGRAM ? sockets.udp : sockets.tcp).push_back(std::move(*socket));
  }
  DnsForwarderSettings settings;
  settings.policy.inside = {settings_.subnet};
  std::vector<UpstreamAddress> own;
  if (auto ours = parse_upstream(ipv4_text(gateway))) own.push_back(*ours);
  auto nameservers = std::make_shared<ResolvConf>("/etc/resolv.conf", std::move(own));
  auto started = DnsForwarder::start(
      std::move(sockets), settings,
      {.find_client = [this](std::uint32_t address) { return client_at(address); },
       .find_sandbox = [this](std::string_view id) { return internal_sandbox(id); },
       .allow = [this](const DnsClient& client,
                       std::span<const AllowedAddress> addresses) { return allow(client, addresses); },
       .upstreams = [nameservers] { return nameservers->nameservers(); }});
  if (started)
    resolver_ = std::move(*started);
  else
    resolver_problem_ = describe(started.error());
}

/// Not by rules that were changed since the client was found.
Result<void> NodeNetwork::allow(const DnsClient& client, std::span<const AllowedAddress> addresses) const {
  const auto held = NANOBOX_TRY(find(client.id));
  const std::lock_guard own(held->mutex);
  const auto address = held->network.address();
  if (!address || client_at(*address).get() != &client)
    return fail(network_error("allow what a name stands for to", client.id, "its rules were changed meanwhile"));
  std::vector<NamedAddress> named;
  for (const auto& [at, ttl] : addresses) named.push_back({.address = at, .lifetime = ttl});
  NANOBOX_TRY(held->network.allow_addresses(named));
  return {};
}

std::shared_ptr<const DnsClient> NodeNetwork::client_at(std::uint32_t address) const {
  const std::lock_guard lock(mutex_);
  const auto found = clients_.find(address);
  return found == clients_.end() ? nullptr : found->second;
}

std::optional<NamedSandbox> NodeNetwork::internal_sandbox(std::string_view id) const {
  const std::lock_guard lock(mutex_);
  for (const auto& [address, client] : clients_)
    if (client->id == id && client->mode == DnsClient::Mode::internal)
      return NamedSandbox{.address = address, .group = client->group};
  if (const auto remote = remote_by_id_.find(id); remote != remote_by_id_.end()) return remote->second;
  return std::nullopt;
}

Result<std::shared_ptr<NodeNetwork::Held>> NodeNetwork::find(const std::string& id) const {
  const std::lock_guard lock(mutex_);
  const auto found = by_id_.find(id);
  if (found != by_id_.end()) return found->second;
  return fail(network_error("use the network of", id, "it has none"));
}

Result<void> NodeNetwork::adopt(const std::string& id, NetworkNamespace inside, std::uint32_t address,
                                const SandboxRules& rules) {
  std::unique_lock host_lock(host_mutex_);
  const auto attachments = NANOBOX_TRY(host_.attachments());
  const auto found = std::ranges::find(attachments, address, &HostAttachment::address);
  const bool is_known = found != attachments.end();
  // The table was removed while no daemon ran.
  const auto attachment =
      is_known ? *found : HostAttachment{.link = NANOBOX_TRY(VmNetwork::find_link(inside)), .address = address};
  auto held = std::make_shared<Held>(NANOBOX_TRY(VmNetwork::adopt(host_.vm_settings(), std::move(inside), attachment)));
  host_lock.unlock();
  if (!is_known) NANOBOX_TRY(held->network.reapply({}));
  {
    const std::lock_guard lock(mutex_);
    // A change of groups that the former daemon did not finish: the number is found anew below.
    held->in_group = attachment.mode == NetworkMode::internal && rules.policy.mode == NetworkMode::internal &&
                     groups_.adopt(rules.group, attachment.group).has_value();
    held->rules.group = rules.group;
    by_id_.insert_or_assign(id, std::move(held));
  }
  auto attached = attach(id, address, rules);
  if (!attached) release(id);
  return attached;
}

Result<RemovedLeftovers> NodeNetwork::remove_leftovers() {
  std::set<std::string> live;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [id, held] : by_id_) live.insert(held->network.link());
  }
  const std::lock_guard host_lock(host_mutex_);
  return host_.reconcile(live);
}

Result<void> NodeNetwork::take(const std::string& id) {
  std::optional<VmNetwork> made;
  {
    const std::lock_guard lock(mutex_);
    if (by_id_.contains(id)) return {};
    if (!stock_.empty()) {
      made.emplace(std::move(stock_.front()));
      stock_.pop_front();
    }
  }
  if (!made) made.emplace(NANOBOX_TRY(make_one()));
  auto held = std::make_shared<Held>(std::move(*made));
  const std::lock_guard lock(mutex_);
  by_id_.emplace(id, std::move(held));
  return {};
}

Result<NodeNetwork::Opened> NodeNetwork::open(const std::string& id) const {
  const auto held = NANOBOX_TRY(find(id));
  const std::lock_guard lock(held->mutex);
  UniqueFd inside(::fcntl(held->network.namespace_fd(), F_DUPFD_CLOEXEC, 0));
  if (!inside) return fail(errno_error(errno, "hold the network of", id, ErrorCode::network_unavailable));
  return Opened{.network_namespace = std::move(inside),
                .tap = NANOBOX_TRY(held->network.open_tap(TapFrames::with_virtio_header))};
}

/// The first sandbox that is to reach anything makes the host pass packets on.
Result<void> NodeNetwork::allow_forwarding() {
  const std::lock_guard lock(host_mutex_);
  if (forwards_) return {};
  if (!NANOBOX_TRY(forwards_packets())) {
    NANOBOX_TRY(forward_packets());
    log_info(LogComponent::network, {}, "net.ipv4.ip_forward is on now: a sandbox is to reach others");
  }
  forwards_ = true;
  return {};
}

Result<void> NodeNetwork::attach(const std::string& id, std::uint32_t address, const SandboxRules& rules) {
  const auto held = NANOBOX_TRY(find(id));
  if (rules.policy.mode != NetworkMode::isolated) NANOBOX_TRY(allow_forwarding());
  const std::lock_guard lock(held->mutex);
  if (held->released) return fail(network_error("attach the network of", id, "it is gone"));
  const bool grouped = rules.policy.mode == NetworkMode::internal;
  auto wanted = rules;
  if (grouped) {
    const std::lock_guard names(mutex_);
    wanted.policy.group = groups_.acquire(rules.group);
  }
  auto& network = held->network;
  const auto done = network.address() ? network.change(wanted.policy) : network.attach(address, wanted.policy);
  if (!done) {
    // Some of it may hold already, and more than was allowed before.
    if (network.address() && !network.change(held->rules.policy) && !network.detach())
      log_error(LogComponent::network, {{"sandbox", id}}, "the network of {} is neither as it was nor as it was to be",
                id);
    const std::lock_guard names(mutex_);
    if (grouped) groups_.release(rules.group);
    return fail(done.error());
  }
  std::set<std::string> groups;
  {
    const std::lock_guard names(mutex_);
    if (held->in_group) {
      groups_.release(held->rules.group);
      groups.insert(held->rules.group);
    }
    if (grouped) groups.insert(rules.group);
    held->rules = std::move(wanted);
    held->in_group = grouped;
    clients_.insert_or_assign(address, client_of(id, rules));
  }
  for (const auto& group : groups) put_group_or_warn(group);
  return {};
}

Result<void> NodeNetwork::rename(const std::string& from, const std::string& to) {
  const auto held = NANOBOX_TRY(find(from));
  const std::lock_guard own(held->mutex);
  if (held->released) return fail(network_error("hand on the network of", from, "it is gone"));
  const std::lock_guard lock(mutex_);
  by_id_.erase(from);
  by_id_.insert_or_assign(to, held);
  if (const auto address = held->network.address()) clients_.insert_or_assign(*address, client_of(to, held->rules));
  return {};
}

void NodeNetwork::release(const std::string& id) {
  std::shared_ptr<Held> held;
  {
    const std::lock_guard lock(mutex_);
    auto entry = by_id_.extract(id);
    if (entry.empty()) return;
    held = std::move(entry.mapped());
  }
  const std::lock_guard own(held->mutex);
  held->released = true;
  const auto address = held->network.address();
  if (const auto detached = held->network.detach(); !detached)
    log_error(LogComponent::network, {}, "{}", describe(detached.error()));
  const bool was_in_group = std::exchange(held->in_group, false);
  {
    const std::lock_guard lock(mutex_);
    if (address) clients_.erase(*address);
    if (was_in_group) groups_.release(held->rules.group);
  }
  if (was_in_group) put_group_or_warn(held->rules.group);
}

Result<void> NodeNetwork::fill(std::size_t count) {
  while (true) {
    {
      const std::lock_guard lock(mutex_);
      if (stock_.size() >= count) return {};
    }
    auto made = NANOBOX_TRY(make_one());
    const std::lock_guard host_lock(host_mutex_);
    if (stopped_) return {};
    const std::lock_guard lock(mutex_);
    stock_.push_back(std::move(made));
  }
}

Result<void> NodeNetwork::look_after() {
  const std::lock_guard host_lock(host_mutex_);
  if (stopped_) return {};
  if (!NANOBOX_TRY(host_.intact())) {
    log_warn(LogComponent::network, {}, "the nftables table of {} is gone, removed by another program; it is put back",
             settings_.bridge_name);
    NANOBOX_TRY(host_.load_table());
    to_reapply_ = true;
  }
  {
    const std::lock_guard lock(overlay_mutex_);
    if (overlay_)
      if (const auto looked = overlay_->look_after(to_reapply_); !looked)
        log_warn(LogComponent::network, {}, "{}", describe(looked.error()));
  }
  if (!to_reapply_) return host_.refresh_uplink();
  const auto all = [&] {
    const std::lock_guard lock(mutex_);
    return by_id_;
  }();
  Result<void> outcome;
  for (const auto& [id, held] : all) {
    const std::lock_guard lock(held->mutex);
    if (held->released || !held->network.address()) continue;
    if (const auto again = held->network.reapply(held->rules.policy); !again) outcome = fail(again.error());
  }
  to_reapply_ = !outcome;
  return outcome;
}

/// What was made ahead; its end takes a while, and nobody waits for it with a lock.
std::deque<VmNetwork> NodeNetwork::take_stock() {
  const std::lock_guard lock(mutex_);
  return std::exchange(stock_, {});
}

void NodeNetwork::stop() {
  resolver_.reset();
  const std::lock_guard host_lock(host_mutex_);
  stopped_ = true;
  take_stock();
  {
    const std::lock_guard lock(mutex_);
    if (!by_id_.empty()) return;
  }
  if (const auto removed = HostNetwork::remove(settings_); !removed)
    log_error(LogComponent::network, {}, "{}", describe(removed.error()));
}

}  // namespace nanobox
