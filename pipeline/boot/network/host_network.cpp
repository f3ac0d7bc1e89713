#include "pipeline/boot/network/host_network.hpp"

#include <net/if.h>

#include <algorithm>
#include <cctype>
#include <string_view>

#include "pipeline/boot/network/host_table.hpp"
#include "pipeline/boot/network/nft_text.hpp"
#include "pipeline/boot/network/subnet.hpp"

namespace nanobox {
namespace {

bool is_our_bridge(const NetworkNames& names, const LinkInfo& link) {
  return link.kind == "bridge" && link.group == names.group;
}

/// Names become part of nft commands.
Result<void> check_link_name(const std::string& setting, const std::string& name) {
  const bool plain = !name.empty() && name.size() < IFNAMSIZ && std::all_of(name.begin(), name.end(), [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 ||
           std::string_view("_.-").find(c) != std::string_view::npos;
  });
  if (plain) return {};
  return fail({.code = ErrorCode::config_invalid,
               .attempted = "use " + setting,
               .subject = name,
               .reason = "it is no link's name",
               .mend = "use 1 to 15 letters, digits and _.-"});
}

/// The unreachable route of a bridge that somebody removed is ours too.
Result<std::vector<RouteInfo>> foreign_routes(Netlink& netlink, const NetworkNames& names, const Ipv4Subnet& subnet,
                                              bool bridge_is_ours) {
  auto routes = NANOBOX_TRY(netlink.routes());
  std::erase_if(routes, [&](const RouteInfo& route) {
    return route.link == names.bridge || route.link == names.overlay || route.link.starts_with(names.link_prefix) ||
           (route.link.empty() && (bridge_is_ours || route.destination == subnet));
  });
  return routes;
}

Result<std::vector<HostAttachment>> attachments_or_none(HostTable& table) {
  auto found = table.attachments();
  if (!found && found.error().code == ErrorCode::not_ready) return std::vector<HostAttachment>{};
  return found;
}

}  // namespace

Result<HostNetwork> HostNetwork::set_up(const HostNetworkSettings& settings) {
  NANOBOX_TRY(check_link_name("network.bridge_name", settings.bridge_name));
  if (!settings.host_iface.empty()) NANOBOX_TRY(check_link_name("network.host_iface", settings.host_iface));
  const auto names = network_names(settings.bridge_name);
  HostNetwork host(settings, {.names = names,
                              .subnet = settings.subnet,
                              .table = NANOBOX_TRY(HostTable::open(names, settings.subnet)),
                              .limits = settings.limits});
  auto netlink = NANOBOX_TRY(Netlink::open());
  const bool was_there = NANOBOX_TRY(netlink.find_link(names.bridge)).has_value();
  const auto made = [&]() -> Result<void> {
    NANOBOX_TRY(host.make_bridge());
    return host.load_table();
  }();
  if (made) return host;
  if (const auto bridge = netlink.find_link(names.bridge);
      !was_there && bridge && *bridge && is_our_bridge(names, **bridge))
    (void)netlink.remove_link((*bridge)->index);
  return fail(made.error());
}

Result<void> HostNetwork::load_table() {
  uplink_ = NANOBOX_TRY(find_uplink());
  auto kept = NANOBOX_TRY(attachments_or_none(*vm_.table));
  std::erase_if(kept, [&](const HostAttachment& attachment) { return !settings_.subnet.contains(attachment.address); });
  return run_nft(host_ruleset::text(vm_.names, settings_.subnet, uplink_, kept));
}

Result<void> HostNetwork::check_subnet_is_free(const HostNetworkSettings& settings) {
  const auto names = network_names(settings.bridge_name);
  auto netlink = NANOBOX_TRY(Netlink::open());
  const auto bridge = NANOBOX_TRY(netlink.find_link(names.bridge));
  return check_subnet(settings.subnet,
                      NANOBOX_TRY(foreign_routes(netlink, names, settings.subnet, bridge.has_value())));
}

Result<void> HostNetwork::make_bridge() {
  const auto& names = vm_.names;
  auto netlink = NANOBOX_TRY(Netlink::open());
  auto bridge = NANOBOX_TRY(netlink.find_link(names.bridge));
  if (bridge && !is_our_bridge(names, *bridge))
    return fail({.code = ErrorCode::config_invalid,
                 .attempted = "use network.bridge_name",
                 .subject = names.bridge,
                 .reason = "a link of this name is there that NanoBox did not make",
                 .mend = "set network.bridge_name to a name that is free"});
  NANOBOX_TRY(check_subnet(settings_.subnet,
                           NANOBOX_TRY(foreign_routes(netlink, names, settings_.subnet, bridge.has_value()))));
  if (!bridge) {
    NANOBOX_TRY(netlink.make_bridge(names.bridge, names.group));
    bridge = NANOBOX_TRY(netlink.find_link(names.bridge));
    if (!bridge)
      return fail({.code = ErrorCode::network_unavailable,
                   .attempted = "make bridge",
                   .subject = names.bridge,
                   .reason = "somebody removed it at once",
                   .mend = ""});
  }
  NANOBOX_TRY(netlink.set_alias(bridge->index, names.alias));
  const auto gateway = gateway_of(settings_.subnet);
  for (const auto& old : NANOBOX_TRY(netlink.addresses(bridge->index))) {
    if (old == Ipv4Subnet{gateway, settings_.subnet.prefix}) continue;
    NANOBOX_TRY(netlink.remove_address(bridge->index, old.base, old.prefix));
    NANOBOX_TRY(netlink.remove_route({.destination = {old.base & old.mask(), old.prefix}}));
  }
  NANOBOX_TRY(netlink.add_address(bridge->index, gateway, settings_.subnet.prefix));
  NANOBOX_TRY(netlink.set_up(bridge->index));
  return netlink.put_route({.destination = settings_.subnet});
}

Result<std::string> HostNetwork::find_uplink() const {
  if (!settings_.host_iface.empty()) return settings_.host_iface;
  auto netlink = NANOBOX_TRY(Netlink::open());
  auto found = default_route_link(NANOBOX_TRY(netlink.routes()));
  return found ? *found : std::string();
}

std::uint32_t HostNetwork::gateway() const {
  return gateway_of(settings_.subnet);
}

Result<void> HostNetwork::refresh_uplink() {
  const auto found = NANOBOX_TRY(find_uplink());
  if (found == uplink_) return {};
  NANOBOX_TRY(vm_.table->put_uplink(found));
  uplink_ = found;
  return {};
}

Result<std::vector<HostAttachment>> HostNetwork::attachments() const {
  return attachments_or_none(*vm_.table);
}

Result<RemovedLeftovers> HostNetwork::reconcile(const std::set<std::string>& live) const {
  RemovedLeftovers removed;
  auto netlink = NANOBOX_TRY(Netlink::open());
  std::set<std::string> there;
  const auto links = NANOBOX_TRY(netlink.links());
  for (const auto& link : links) there.insert(link.name);
  for (auto& attachment : NANOBOX_TRY(attachments())) {
    if (live.contains(attachment.link) && there.contains(attachment.link)) continue;
    NANOBOX_TRY(vm_.table->put(attachment, std::nullopt));
    removed.attachments.push_back(std::move(attachment));
  }
  for (const auto& link : links) {
    if (live.contains(link.name) || !is_vm_link(vm_.names, link.name, link.kind, link.group)) continue;
    NANOBOX_TRY(netlink.remove_link(link.index));
    removed.links.push_back(link.name);
  }
  return removed;
}

Result<void> HostNetwork::remove(const HostNetworkSettings& settings) {
  const auto names = network_names(settings.bridge_name);
  auto netlink = NANOBOX_TRY(Netlink::open());
  const auto links = NANOBOX_TRY(netlink.links());
  for (const auto& link : links)
    if (is_vm_link(names, link.name, link.kind, link.group) || is_overlay_link(names, link.name, link.kind, link.group))
      NANOBOX_TRY(netlink.remove_link(link.index));
  NANOBOX_TRY(run_nft(host_ruleset::removal(names)));
  for (const auto& link : links) {
    if (link.name != names.bridge || !is_our_bridge(names, link)) continue;
    for (const auto& address : NANOBOX_TRY(netlink.addresses(link.index)))
      NANOBOX_TRY(netlink.remove_route({.destination = {address.base & address.mask(), address.prefix}}));
    NANOBOX_TRY(netlink.remove_link(link.index));
  }
  return {};
}

}  // namespace nanobox
