#include "pipeline/boot/network/vm_network.hpp"

#include <unistd.h>

#include "config/random_bytes.hpp"
#include "pipeline/boot/network/nft_text.hpp"

namespace nanobox {
namespace {

std::uint32_t random_number() {
  std::uint32_t number = 0;
  fill_random(std::as_writable_bytes(std::span(&number, 1)));
  return number;
}

/// Never 0, which is the mark of every connection that has none.
std::uint32_t new_epoch() {
  return random_number() | 1;
}

Result<LinkInfo> existing(Netlink& netlink, std::string_view name) {
  auto link = NANOBOX_TRY(netlink.find_link(std::string(name)));
  if (link) return std::move(*link);
  return fail({.code = ErrorCode::network_unavailable,
               .attempted = "look for link",
               .subject = std::string(name),
               .reason = "it is gone",
               .mend = ""});
}

Result<void> write_sysctls() {
  NANOBOX_TRY(write_sysctl("net/ipv4/ip_forward", "1"));
  for (const std::string of : {"all", "default"}) {
    NANOBOX_TRY(write_sysctl("net/ipv4/conf/" + of + "/rp_filter", "1"));
    NANOBOX_TRY(write_sysctl("net/ipv4/conf/" + of + "/accept_redirects", "0"));
    NANOBOX_TRY(write_sysctl("net/ipv4/conf/" + of + "/send_redirects", "0"));
    const auto ipv6_off = "net/ipv6/conf/" + of + "/disable_ipv6";
    if (::access(("/proc/sys/" + ipv6_off).c_str(), F_OK) == 0) NANOBOX_TRY(write_sysctl(ipv6_off, "1"));
  }
  // A fork's copied connections are not known here, and must not be taken up in the middle.
  return write_sysctl("net/netfilter/nf_conntrack_tcp_loose", "0");
}

HostAttachment wanted_of(const std::string& link, std::uint32_t address, const NetworkPolicy& policy) {
  return {.link = link,
          .address = address,
          .mode = policy.mode,
          .group = policy.mode == NetworkMode::internal ? policy.group : 0};
}

}  // namespace

Result<VmNetwork> VmNetwork::make(const VmNetworkSettings& settings) {
  auto inside = NANOBOX_TRY(NetworkNamespace::make());
  auto netlink = NANOBOX_TRY(Netlink::open());
  for (int attempt = 0;; ++attempt) {
    const auto name = vm_link_name(settings.names, random_number());
    const auto made = netlink.make_veth({.name = name,
                                         .mac = vm_side::host_mac,
                                         .peer_name = vm_side::out,
                                         .peer_mac = vm_side::out_mac,
                                         .peer_namespace = inside.fd(),
                                         .group = settings.names.group,
                                         .mtu = settings.mtu});
    if (!made && made.error().code == ErrorCode::conflict && attempt < 8) continue;
    if (!made) return fail(made.error());
    VmNetwork network(settings, std::move(inside), name);
    // The rules stand before a link is up.
    NANOBOX_TRY(network.prepare_inside());
    NANOBOX_TRY(network.prepare_host_end());
    return network;
  }
}

Result<void> VmNetwork::prepare_host_end() {
  auto netlink = NANOBOX_TRY(Netlink::open());
  link_index_ = NANOBOX_TRY(existing(netlink, link_)).index;
  NANOBOX_TRY(netlink.set_alias(link_index_, settings_.names.alias));
  const auto ipv6_off = "net/ipv6/conf/" + link_ + "/disable_ipv6";
  if (::access(("/proc/sys/" + ipv6_off).c_str(), F_OK) == 0) NANOBOX_TRY(write_sysctl(ipv6_off, "1"));
  NANOBOX_TRY(netlink.set_up(link_index_));
  return netlink.add_neighbour(link_index_, vm_side::out_end, vm_side::out_mac);
}

Result<void> VmNetwork::open_door() {
  auto rules = NANOBOX_TRY(NftSocket::open());
  auto links = NANOBOX_TRY(Netlink::open());
  door_.reset(new Door{.mutex = {}, .rules = std::move(rules), .links = std::move(links)});
  return {};
}

Result<void> VmNetwork::prepare_inside() {
  return inside_.run([&]() -> Result<void> {
    NANOBOX_TRY(open_door());
    tap_ = NANOBOX_TRY(make_tap(vm_side::tap));
    NANOBOX_TRY(run_nft(vm_ruleset::text(settings_.subnet, settings_.limits)));
    NANOBOX_TRY(write_sysctls());
    auto& netlink = door_->links;
    NANOBOX_TRY(netlink.set_up(NANOBOX_TRY(existing(netlink, "lo")).index));
    tap_index_ = NANOBOX_TRY(existing(netlink, vm_side::tap)).index;
    out_index_ = NANOBOX_TRY(existing(netlink, vm_side::out)).index;
    NANOBOX_TRY(netlink.set_mac(tap_index_, vm_side::tap_mac));
    NANOBOX_TRY(netlink.add_address(tap_index_, vm_side::gateway, 30));
    for (const int link : {tap_index_, out_index_}) NANOBOX_TRY(netlink.set_up(link));
    NANOBOX_TRY(netlink.add_neighbour(tap_index_, vm_side::guest, vm_side::guest_mac));
    NANOBOX_TRY(netlink.add_neighbour(out_index_, vm_side::host_end, vm_side::host_mac));
    NANOBOX_TRY(netlink.put_route({.destination = {vm_side::guest, 32}, .link = tap_index_}));
    return netlink.put_route({.destination = {0, 0}, .link = out_index_, .via = vm_side::host_end});
  });
}

Result<VmNetwork> VmNetwork::adopt(const VmNetworkSettings& settings, NetworkNamespace inside,
                                   HostAttachment attachment) {
  VmNetwork network(settings, std::move(inside), attachment.link);
  auto netlink = NANOBOX_TRY(Netlink::open());
  const auto link = NANOBOX_TRY(existing(netlink, attachment.link));
  int peer = 0;
  NANOBOX_TRY(network.inside_.run([&]() -> Result<void> {
    NANOBOX_TRY(network.open_door());
    auto& inner = network.door_->links;
    network.tap_index_ = NANOBOX_TRY(existing(inner, vm_side::tap)).index;
    const auto out = NANOBOX_TRY(existing(inner, vm_side::out));
    network.out_index_ = out.index;
    peer = out.peer;
    return {};
  }));
  if (!is_vm_link(settings.names, link.name, link.kind, link.group) || peer != link.index)
    return fail({.code = ErrorCode::network_unavailable,
                 .attempted = "adopt network",
                 .subject = link.name,
                 .reason = "it is not the other end of this namespace's link",
                 .mend = ""});
  network.link_index_ = link.index;
  network.attachment_ = std::move(attachment);
  network.mbps_.reset();
  return network;
}

Result<std::string> VmNetwork::find_link(const NetworkNamespace& inside) {
  const int index = NANOBOX_TRY(inside.run([]() -> Result<int> {
    auto netlink = NANOBOX_TRY(Netlink::open());
    return NANOBOX_TRY(existing(netlink, vm_side::out)).peer;
  }));
  auto netlink = NANOBOX_TRY(Netlink::open());
  for (const auto& link : NANOBOX_TRY(netlink.links()))
    if (link.index == index) return link.name;
  return fail({.code = ErrorCode::network_unavailable,
               .attempted = "look for the host's end of a VM's link",
               .subject = std::to_string(index),
               .reason = "it is gone",
               .mend = ""});
}

std::optional<std::uint32_t> VmNetwork::address() const {
  if (!attachment_) return std::nullopt;
  return attachment_->address;
}

Result<UniqueFd> VmNetwork::open_tap(TapFrames frames) {
  if (tap_ && frames == TapFrames::with_virtio_header) return std::move(tap_);
  tap_.reset();
  return inside_.run([&] { return nanobox::open_tap(vm_side::tap, frames); });
}

Result<void> VmNetwork::give_tap_to(uid_t user) {
  tap_.reset();
  return inside_.run([&]() -> Result<void> {
    NANOBOX_TRY(nanobox::open_tap(vm_side::tap, TapFrames::with_virtio_header, user));
    return {};
  });
}

Result<NetlinkTraffic> VmNetwork::attach(std::uint32_t address, const NetworkPolicy& policy) {
  if (attachment_)
    return fail({.code = ErrorCode::invalid_value,
                 .attempted = "attach network",
                 .subject = ipv4_text(address),
                 .reason = "it has the address " + ipv4_text(attachment_->address),
                 .mend = ""});
  const auto epoch = new_epoch();
  auto sent =
      NANOBOX_TRY(apply_inside(vm_ruleset::attach(address, policy, settings_.subnet, epoch), policy.rate_limit_mbps));
  sent += NANOBOX_TRY(route(address, true));
  if (const auto put = put_on_host(wanted_of(link_, address, policy)); put) {
    sent += *put;
    return sent;
  } else {
    static_cast<void>(route(address, false));
    return fail(put.error());
  }
}

Result<NetlinkTraffic> VmNetwork::change(const NetworkPolicy& policy) {
  if (!attachment_)
    return fail({.code = ErrorCode::invalid_value,
                 .attempted = "change network",
                 .subject = link_,
                 .reason = "it is not attached",
                 .mend = ""});
  const auto wanted = wanted_of(link_, attachment_->address, policy);
  auto inside = vm_ruleset::change(policy, settings_.subnet, new_epoch());
  NetlinkTraffic sent;
  // Towards the internet the lists come first, away from it the host's door closes first.
  if (policy.mode != NetworkMode::internet) sent += NANOBOX_TRY(put_on_host(wanted));
  sent += NANOBOX_TRY(apply_inside(std::move(inside), policy.rate_limit_mbps));
  if (policy.mode == NetworkMode::internet) sent += NANOBOX_TRY(put_on_host(wanted));
  return sent;
}

Result<NetlinkTraffic> VmNetwork::reapply(const NetworkPolicy& policy) {
  if (!attachment_) return change(policy);
  const auto address = attachment_->address;
  mbps_.reset();
  auto sent = NANOBOX_TRY(
      apply_inside(vm_ruleset::attach(address, policy, settings_.subnet, new_epoch()), policy.rate_limit_mbps));
  sent += NANOBOX_TRY(route(address, true));
  const auto wanted = wanted_of(link_, address, policy);
  sent += NANOBOX_TRY(settings_.table->put(std::nullopt, wanted));
  attachment_ = wanted;
  return sent;
}

Result<NetlinkTraffic> VmNetwork::detach() {
  if (!attachment_) return NetlinkTraffic{};
  auto sent = NANOBOX_TRY(route(attachment_->address, false));
  sent += NANOBOX_TRY(put_on_host(std::nullopt));
  auto batch = vm_ruleset::detach();
  const std::lock_guard lock(door_->mutex);
  sent += NANOBOX_TRY(door_->rules.commit(batch));
  return sent;
}

Result<NetlinkTraffic> VmNetwork::allow_addresses(std::span<const NamedAddress> addresses) const {
  auto batch = vm_ruleset::allow(addresses);
  const std::lock_guard lock(door_->mutex);
  return door_->rules.commit(batch);
}

Result<NetlinkTraffic> VmNetwork::apply_inside(NftBatch batch, std::uint32_t mbps) {
  const std::lock_guard lock(door_->mutex);
  auto sent = NANOBOX_TRY(door_->rules.commit(batch));
  if (mbps_ == mbps) return sent;
  const auto before = door_->links.traffic();
  mbps_.reset();
  for (const int link : {tap_index_, out_index_}) NANOBOX_TRY(door_->links.shape(link, mbps));
  mbps_ = mbps;
  const auto after = door_->links.traffic();
  sent += {after.messages - before.messages, after.bytes - before.bytes};
  return sent;
}

Result<NetlinkTraffic> VmNetwork::route(std::uint32_t address, bool present) const {
  auto netlink = NANOBOX_TRY(Netlink::open());
  const RouteSpec spec{.destination = {address, 32}, .link = link_index_, .via = vm_side::out_end};
  NANOBOX_TRY(present ? netlink.put_route(spec) : netlink.remove_route(spec));
  return netlink.traffic();
}

Result<NetlinkTraffic> VmNetwork::put_on_host(const std::optional<HostAttachment>& wanted) {
  const auto sent = NANOBOX_TRY(settings_.table->put(attachment_, wanted));
  attachment_ = wanted;
  return sent;
}

}  // namespace nanobox
