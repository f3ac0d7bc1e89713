#include "pipeline/boot/network/overlay.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "pipeline/boot/network/host_ruleset.hpp"
#include "pipeline/boot/network/netlink.hpp"
#include "pipeline/boot/network/network_namespace.hpp"

namespace nanobox {
namespace {

/// Each node's device has a MAC that says its address on the underlay, so that nobody needs to ask for it.
std::string mac_of(std::uint32_t address) {
  char text[18];
  std::snprintf(text, sizeof text, "02:6e:%02x:%02x:%02x:%02x", address >> 24, address >> 16 & 0xff,
                address >> 8 & 0xff, address & 0xff);
  return text;
}

Error no_underlay(const std::string& link, std::string reason) {
  return {.code = ErrorCode::config_invalid,
          .attempted = "use cluster.overlay_iface",
          .subject = link,
          .reason = std::move(reason),
          .mend = "name a link with an IPv4 address on which the other nodes are reached"};
}

Result<LinkInfo> underlay_of(Netlink& netlink, const std::string& name) {
  auto link = NANOBOX_TRY(netlink.find_link(name));
  if (!link) return fail(no_underlay(name, "this host has no such link"));
  return std::move(*link);
}

Result<std::uint32_t> address_on(Netlink& netlink, const LinkInfo& link) {
  const auto addresses = NANOBOX_TRY(netlink.addresses(link.index));
  if (addresses.empty()) return fail(no_underlay(link.name, "it has no IPv4 address"));
  return addresses.front().base;
}

Result<void> write_sysctls(const std::string& link) {
  const auto of = "net/ipv4/conf/" + link;
  NANOBOX_TRY(write_sysctl(of + "/rp_filter", "1"));
  NANOBOX_TRY(write_sysctl(of + "/accept_redirects", "0"));
  NANOBOX_TRY(write_sysctl(of + "/send_redirects", "0"));
  NANOBOX_TRY(write_sysctl(of + "/arp_ignore", "8"));
  const auto ipv6_off = "net/ipv6/conf/" + link + "/disable_ipv6";
  if (::access(("/proc/sys/" + ipv6_off).c_str(), F_OK) == 0) NANOBOX_TRY(write_sysctl(ipv6_off, "1"));
  return {};
}

bool is_part_of(const Ipv4Subnet& part, const Ipv4Subnet& subnet) {
  return part.prefix > subnet.prefix && subnet.contains(part.base);
}

}  // namespace

Result<void> Overlay::remove(const NetworkNames& names) {
  auto netlink = NANOBOX_TRY(Netlink::open());
  const auto link = NANOBOX_TRY(netlink.find_link(names.overlay));
  if (!link || !is_overlay_link(names, link->name, link->kind, link->group)) return {};
  return netlink.remove_link(link->index);
}

Result<std::unique_ptr<Overlay>> Overlay::start(OverlaySettings settings) {
  NANOBOX_TRY(remove(settings.names));
  auto netlink = NANOBOX_TRY(Netlink::open());
  const auto underlay = NANOBOX_TRY(underlay_of(netlink, settings.underlay));
  const auto address = NANOBOX_TRY(address_on(netlink, underlay));
  std::unique_ptr<Overlay> overlay(new Overlay(std::move(settings), address));
  NANOBOX_TRY(overlay->make_device());
  return overlay;
}

Result<void> Overlay::make_device() {
  auto netlink = NANOBOX_TRY(Netlink::open());
  const auto& names = settings_.names;
  const auto underlay = NANOBOX_TRY(underlay_of(netlink, settings_.underlay));
  NANOBOX_TRY(netlink.make_vxlan({.name = names.overlay,
                                  .mac = mac_of(address_),
                                  .underlay = underlay.index,
                                  .local = address_,
                                  .vni = host_ruleset::vni_of(settings_.subnet),
                                  .group = names.group}));
  const auto made = NANOBOX_TRY(netlink.find_link(names.overlay));
  if (!made) return fail(no_underlay(names.overlay, "somebody removed the device at once"));
  link_ = made->index;
  NANOBOX_TRY(netlink.set_alias(link_, names.alias));
  NANOBOX_TRY(write_sysctls(names.overlay));
  return netlink.set_up(link_);
}

/// The peer itself is the next hop, on the device.
Result<void> Overlay::put_routes(const OverlayPeer& peer) const {
  auto netlink = NANOBOX_TRY(Netlink::open());
  const auto mac = mac_of(peer.address);
  NANOBOX_TRY(netlink.put_forwarding(link_, mac, peer.address));
  NANOBOX_TRY(netlink.add_neighbour(link_, peer.address, mac));
  for (const auto& part : peer.parts)
    if (is_part_of(part, settings_.subnet))
      NANOBOX_TRY(netlink.put_route({.destination = part, .link = link_, .via = peer.address}));
  return {};
}

Result<void> Overlay::remove_route(const OverlayPeer& peer, const Ipv4Subnet& part) const {
  if (!is_part_of(part, settings_.subnet)) return {};
  auto netlink = NANOBOX_TRY(Netlink::open());
  return netlink.remove_route({.destination = part, .link = link_, .via = peer.address});
}

Result<void> Overlay::remove_neighbour(const OverlayPeer& peer) const {
  auto netlink = NANOBOX_TRY(Netlink::open());
  NANOBOX_TRY(netlink.remove_neighbour(link_, peer.address));
  return netlink.remove_forwarding(link_, mac_of(peer.address), peer.address);
}

Result<void> Overlay::change_table(const std::vector<NftElement>& removed, const std::vector<NftElement>& added) {
  if (table_is_stale_) return {};  // all of it is put later
  auto changed = settings_.table->change(removed, added);
  table_is_stale_ = !changed;
  return changed;
}

Result<void> Overlay::put_peers(const std::vector<OverlayPeer>& peers) {
  std::map<std::uint32_t, OverlayPeer> wanted;
  for (const auto& peer : peers)
    if (peer.address != 0 && peer.address != address_) wanted[peer.address] = peer;
  const auto before = std::exchange(peers_, std::move(wanted));
  std::vector<NftElement> strangers, friends;
  Result<void> outcome;
  const auto note = [&](Result<void> done) {
    if (!done) outcome = std::move(done);
  };
  for (const auto& [address, peer] : before) {
    const auto now = peers_.find(address);
    if (now == peers_.end()) strangers.push_back(host_ruleset::peer(settings_.underlay, address));
    for (const auto& part : peer.parts)
      if (now == peers_.end() || std::ranges::find(now->second.parts, part) == now->second.parts.end())
        note(remove_route(peer, part));
    if (now == peers_.end()) note(remove_neighbour(peer));
  }
  for (const auto& [address, peer] : peers_) {
    const auto then = before.find(address);
    if (then == before.end()) friends.push_back(host_ruleset::peer(settings_.underlay, address));
    if (then == before.end() || then->second != peer) note(put_routes(peer));
  }
  device_is_stale_ = device_is_stale_ || !outcome;
  note(change_table(strangers, friends));
  return outcome;
}

Result<void> Overlay::put_group(std::uint32_t group, const std::set<std::uint32_t>& addresses) {
  const auto before = std::exchange(groups_[group], addresses);
  if (addresses.empty()) groups_.erase(group);
  const auto missing_in = [group](const auto& from, const auto& other) {
    std::vector<NftElement> left;
    for (const auto address : from)
      if (!other.contains(address)) left.push_back(host_ruleset::remote(group, address));
    return left;
  };
  return change_table(missing_in(before, addresses), missing_in(addresses, before));
}

Result<void> Overlay::look_after(bool table_was_replaced) {
  auto netlink = NANOBOX_TRY(Netlink::open());
  const auto there = NANOBOX_TRY(netlink.find_link(settings_.names.overlay));
  if (!there || there->index != link_) {
    NANOBOX_TRY(remove(settings_.names));
    NANOBOX_TRY(make_device());
    device_is_stale_ = true;
  }
  if (device_is_stale_)
    for (const auto& [address, peer] : peers_) NANOBOX_TRY(put_routes(peer));
  device_is_stale_ = false;
  if (!table_was_replaced && !table_is_stale_) return {};
  table_is_stale_ = true;
  NANOBOX_TRY(settings_.table->forget_remote());
  std::vector<NftElement> all;
  for (const auto& [address, peer] : peers_) all.push_back(host_ruleset::peer(settings_.underlay, address));
  for (const auto& [group, addresses] : groups_)
    for (const auto address : addresses) all.push_back(host_ruleset::remote(group, address));
  NANOBOX_TRY(settings_.table->change({}, all));
  table_is_stale_ = false;
  return {};
}

}  // namespace nanobox
