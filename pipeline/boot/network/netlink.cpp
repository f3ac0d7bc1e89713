#include "pipeline/boot/network/netlink.hpp"

#include <arpa/inet.h>
#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/netlink.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/link/bridge.h>
#include <netlink/route/link/veth.h>
#include <netlink/route/link/vxlan.h>
#include <netlink/route/neighbour.h>
#include <netlink/route/qdisc.h>
#include <netlink/route/qdisc/tbf.h>
#include <netlink/route/route.h>
#include <netlink/socket.h>

#include <algorithm>
#include <new>

namespace nanobox {
namespace {

template <class T, void (*release)(T*)>
struct Release {
  void operator()(T* object) const noexcept { release(object); }
};
using Link = std::unique_ptr<rtnl_link, Release<rtnl_link, rtnl_link_put>>;
using Address = std::unique_ptr<nl_addr, Release<nl_addr, nl_addr_put>>;
using LinkAddress = std::unique_ptr<rtnl_addr, Release<rtnl_addr, rtnl_addr_put>>;
using Neighbour = std::unique_ptr<rtnl_neigh, Release<rtnl_neigh, rtnl_neigh_put>>;
using Route = std::unique_ptr<rtnl_route, Release<rtnl_route, rtnl_route_put>>;
using Qdisc = std::unique_ptr<rtnl_qdisc, Release<rtnl_qdisc, rtnl_qdisc_put>>;
using Cache = std::unique_ptr<nl_cache, Release<nl_cache, nl_cache_free>>;

tl::unexpected<Error> refused(int code, std::string attempted, std::string subject) {
  std::string mend;
  if (code == -NLE_PERM) mend = "run nanoboxd as root, or with CAP_NET_ADMIN and CAP_SYS_ADMIN";
  if (code == -NLE_OPNOTSUPP) mend = "load what the kernel lacks: modprobe veth, tun, bridge, sch_tbf, vxlan";
  return fail({.code = code == -NLE_EXIST ? ErrorCode::conflict : ErrorCode::network_unavailable,
               .attempted = std::move(attempted),
               .subject = std::move(subject),
               .reason = nl_geterror(code),
               .mend = std::move(mend)});
}

Result<void> answered(int code, std::string attempted, std::string subject) {
  if (code < 0) return refused(code, std::move(attempted), std::move(subject));
  return {};
}

Address ipv4(std::uint32_t address, std::uint8_t prefix = 32) {
  const auto network = htonl(address);
  Address built(nl_addr_build(AF_INET, &network, sizeof network));
  if (built) nl_addr_set_prefixlen(built.get(), prefix);
  return built;
}

Address ethernet(std::string_view mac) {
  nl_addr* parsed = nullptr;
  nl_addr_parse(std::string(mac).c_str(), AF_LLC, &parsed);
  return Address(parsed);
}

std::uint32_t host_order(nl_addr* address) {
  if (address == nullptr || nl_addr_get_len(address) != 4) return 0;
  std::uint32_t network;
  std::copy_n(static_cast<const char*>(nl_addr_get_binary_addr(address)), sizeof network,
              reinterpret_cast<char*>(&network));
  return ntohl(network);
}

std::string text_or_empty(const char* text) {
  return text == nullptr ? std::string() : std::string(text);
}

LinkInfo info(rtnl_link* link) {
  return {.index = rtnl_link_get_ifindex(link),
          .name = text_or_empty(rtnl_link_get_name(link)),
          .kind = text_or_empty(rtnl_link_get_type(link)),
          .alias = text_or_empty(rtnl_link_get_ifalias(link)),
          .group = rtnl_link_get_group(link),
          .peer = rtnl_link_get_link(link),
          .up = (rtnl_link_get_flags(link) & IFF_UP) != 0};
}

int count(nl_msg* message, void* traffic) {
  auto& sum = *static_cast<NetlinkTraffic*>(traffic);
  ++sum.messages;
  sum.bytes += nlmsg_hdr(message)->nlmsg_len;
  return NL_OK;
}

/// A change of one link, told by index.
Result<void> change(nl_sock* socket, int index, std::string attempted, const auto& set) {
  Link of(rtnl_link_alloc());
  Link wanted(rtnl_link_alloc());
  if (!of || !wanted) return refused(-NLE_NOMEM, std::move(attempted), std::to_string(index));
  rtnl_link_set_ifindex(of.get(), index);
  set(wanted.get());
  return answered(rtnl_link_change(socket, of.get(), wanted.get(), 0), std::move(attempted),
                  "link " + std::to_string(index));
}

Route route_of(const RouteSpec& spec) {
  Route route(rtnl_route_alloc());
  const auto destination = ipv4(spec.destination.base, spec.destination.prefix);
  if (!route || !destination) return {};
  rtnl_route_set_family(route.get(), AF_INET);
  rtnl_route_set_table(route.get(), RT_TABLE_MAIN);
  rtnl_route_set_protocol(route.get(), RTPROT_STATIC);
  rtnl_route_set_dst(route.get(), destination.get());
  if (spec.link == 0) {
    rtnl_route_set_type(route.get(), RTN_UNREACHABLE);
    return route;
  }
  rtnl_route_set_scope(route.get(), spec.via == 0 ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE);
  rtnl_nexthop* hop = rtnl_route_nh_alloc();
  if (hop == nullptr) return {};
  rtnl_route_nh_set_ifindex(hop, spec.link);
  if (spec.via != 0) {
    rtnl_route_nh_set_gateway(hop, ipv4(spec.via).get());
    rtnl_route_nh_set_flags(hop, RTNH_F_ONLINK);
  }
  rtnl_route_add_nexthop(route.get(), hop);
  return route;
}

}  // namespace

void Netlink::Closer::operator()(nl_sock* socket) const noexcept {
  nl_socket_free(socket);
}

Netlink::Netlink(nl_sock* socket) : traffic_(std::make_unique<NetlinkTraffic>()), socket_(socket) {
  nl_socket_modify_cb(socket, NL_CB_MSG_OUT, NL_CB_CUSTOM, count, traffic_.get());
}

Result<Netlink> Netlink::open() {
  nl_sock* socket = nl_socket_alloc();
  if (socket == nullptr) return refused(-NLE_NOMEM, "open netlink", "");
  Netlink netlink(socket);
  NANOBOX_TRY(answered(nl_connect(socket, NETLINK_ROUTE), "open netlink", ""));
  return netlink;
}

Result<std::vector<LinkInfo>> Netlink::links() {
  nl_cache* all = nullptr;
  NANOBOX_TRY(answered(rtnl_link_alloc_cache(socket_.get(), AF_UNSPEC, &all), "list links", ""));
  const Cache cache(all);
  std::vector<LinkInfo> found;
  for (auto* object = nl_cache_get_first(all); object != nullptr; object = nl_cache_get_next(object))
    found.push_back(info(reinterpret_cast<rtnl_link*>(object)));
  return found;
}

Result<std::optional<LinkInfo>> Netlink::find_link(const std::string& name) {
  rtnl_link* one = nullptr;
  const int code = rtnl_link_get_kernel(socket_.get(), 0, name.c_str(), &one);
  if (code == -NLE_NODEV || code == -NLE_OBJ_NOTFOUND) return std::nullopt;
  NANOBOX_TRY(answered(code, "look for link", name));
  return info(Link(one).get());
}

Result<void> Netlink::make_bridge(const std::string& name, std::uint32_t group) {
  Link bridge(rtnl_link_bridge_alloc());
  if (!bridge) return refused(-NLE_NOMEM, "make bridge", name);
  rtnl_link_set_name(bridge.get(), name.c_str());
  rtnl_link_set_group(bridge.get(), group);
  return answered(rtnl_link_add(socket_.get(), bridge.get(), NLM_F_CREATE | NLM_F_EXCL), "make bridge", name);
}

Result<void> Netlink::make_veth(const VethSpec& spec) {
  Link link(rtnl_link_veth_alloc());
  if (!link) return refused(-NLE_NOMEM, "make veth", spec.name);
  const Link peer(rtnl_link_veth_get_peer(link.get()));
  rtnl_link_set_name(link.get(), spec.name.c_str());
  rtnl_link_set_addr(link.get(), ethernet(spec.mac).get());
  rtnl_link_set_mtu(link.get(), spec.mtu);
  rtnl_link_set_group(link.get(), spec.group);
  rtnl_link_set_name(peer.get(), std::string(spec.peer_name).c_str());
  rtnl_link_set_addr(peer.get(), ethernet(spec.peer_mac).get());
  rtnl_link_set_mtu(peer.get(), spec.mtu);
  rtnl_link_set_ns_fd(peer.get(), spec.peer_namespace);
  return answered(rtnl_link_add(socket_.get(), link.get(), NLM_F_CREATE | NLM_F_EXCL), "make veth", spec.name);
}

Result<void> Netlink::make_vxlan(const VxlanSpec& spec) {
  Link link(rtnl_link_vxlan_alloc());
  const auto local = ipv4(spec.local);
  if (!link || !local) return refused(-NLE_NOMEM, "make vxlan", spec.name);
  rtnl_link_set_name(link.get(), spec.name.c_str());
  rtnl_link_set_addr(link.get(), ethernet(spec.mac).get());
  rtnl_link_set_group(link.get(), spec.group);
  rtnl_link_vxlan_set_id(link.get(), spec.vni);
  rtnl_link_vxlan_set_link(link.get(), static_cast<std::uint32_t>(spec.underlay));
  rtnl_link_vxlan_set_local(link.get(), local.get());
  rtnl_link_vxlan_set_port(link.get(), spec.port);
  rtnl_link_vxlan_set_learning(link.get(), 0);
  return answered(rtnl_link_add(socket_.get(), link.get(), NLM_F_CREATE | NLM_F_EXCL), "make vxlan", spec.name);
}

Result<void> Netlink::remove_link(int index) {
  Link link(rtnl_link_alloc());
  if (!link) return refused(-NLE_NOMEM, "remove link", std::to_string(index));
  rtnl_link_set_ifindex(link.get(), index);
  const int code = rtnl_link_delete(socket_.get(), link.get());
  if (code == -NLE_NODEV || code == -NLE_OBJ_NOTFOUND) return {};
  return answered(code, "remove link", std::to_string(index));
}

Result<void> Netlink::set_up(int index) {
  return change(socket_.get(), index, "set link up", [](rtnl_link* link) { rtnl_link_set_flags(link, IFF_UP); });
}

Result<void> Netlink::set_alias(int index, const std::string& alias) {
  return change(socket_.get(), index, "set link alias",
                [&](rtnl_link* link) { rtnl_link_set_ifalias(link, alias.c_str()); });
}

Result<void> Netlink::set_mac(int index, std::string_view mac) {
  return change(socket_.get(), index, "set link address",
                [&](rtnl_link* link) { rtnl_link_set_addr(link, ethernet(mac).get()); });
}

Result<std::vector<Ipv4Subnet>> Netlink::addresses(int link) {
  nl_cache* all = nullptr;
  NANOBOX_TRY(answered(rtnl_addr_alloc_cache(socket_.get(), &all), "list addresses", ""));
  const Cache cache(all);
  std::vector<Ipv4Subnet> found;
  for (auto* object = nl_cache_get_first(all); object != nullptr; object = nl_cache_get_next(object)) {
    auto* address = reinterpret_cast<rtnl_addr*>(object);
    if (rtnl_addr_get_ifindex(address) != link || rtnl_addr_get_family(address) != AF_INET) continue;
    auto* local = rtnl_addr_get_local(address);
    found.push_back({host_order(local), static_cast<std::uint8_t>(rtnl_addr_get_prefixlen(address))});
  }
  return found;
}

namespace {

LinkAddress address_of(int link, std::uint32_t address, std::uint8_t prefix) {
  LinkAddress built(rtnl_addr_alloc());
  const auto local = ipv4(address, prefix);
  if (!built || !local) return {};
  rtnl_addr_set_ifindex(built.get(), link);
  rtnl_addr_set_local(built.get(), local.get());
  rtnl_addr_set_flags(built.get(), IFA_F_NOPREFIXROUTE);
  return built;
}

}  // namespace

Result<void> Netlink::add_address(int link, std::uint32_t address, std::uint8_t prefix) {
  const auto wanted = address_of(link, address, prefix);
  if (!wanted) return refused(-NLE_NOMEM, "add address", ipv4_text(address));
  const int code = rtnl_addr_add(socket_.get(), wanted.get(), 0);
  if (code == -NLE_EXIST) return {};
  return answered(code, "add address", ipv4_text(address));
}

Result<void> Netlink::remove_address(int link, std::uint32_t address, std::uint8_t prefix) {
  const auto unwanted = address_of(link, address, prefix);
  if (!unwanted) return refused(-NLE_NOMEM, "remove address", ipv4_text(address));
  return answered(rtnl_addr_delete(socket_.get(), unwanted.get(), 0), "remove address", ipv4_text(address));
}

Result<void> Netlink::add_neighbour(int link, std::uint32_t address, std::string_view mac) {
  Neighbour neighbour(rtnl_neigh_alloc());
  const auto outer = ipv4(address);
  const auto hardware = ethernet(mac);
  if (!neighbour || !outer || !hardware) return refused(-NLE_NOMEM, "add neighbour", ipv4_text(address));
  rtnl_neigh_set_ifindex(neighbour.get(), link);
  rtnl_neigh_set_family(neighbour.get(), AF_INET);
  rtnl_neigh_set_dst(neighbour.get(), outer.get());
  rtnl_neigh_set_lladdr(neighbour.get(), hardware.get());
  rtnl_neigh_set_state(neighbour.get(), NUD_PERMANENT);
  return answered(rtnl_neigh_add(socket_.get(), neighbour.get(), NLM_F_CREATE | NLM_F_REPLACE), "add neighbour",
                  ipv4_text(address));
}

Result<void> Netlink::remove_neighbour(int link, std::uint32_t address) {
  Neighbour neighbour(rtnl_neigh_alloc());
  const auto outer = ipv4(address);
  if (!neighbour || !outer) return refused(-NLE_NOMEM, "remove neighbour", ipv4_text(address));
  rtnl_neigh_set_ifindex(neighbour.get(), link);
  rtnl_neigh_set_family(neighbour.get(), AF_INET);
  rtnl_neigh_set_dst(neighbour.get(), outer.get());
  const int code = rtnl_neigh_delete(socket_.get(), neighbour.get(), 0);
  if (code == -NLE_OBJ_NOTFOUND || code == -NLE_NODEV) return {};
  return answered(code, "remove neighbour", ipv4_text(address));
}

namespace {

/// libnl leaves the host out of a forwarding entry.
int change_forwarding(nl_sock* socket, int type, int flags, int link, std::string_view mac, std::uint32_t host) {
  const ndmsg head{.ndm_family = AF_BRIDGE,
                   .ndm_pad1 = 0,
                   .ndm_pad2 = 0,
                   .ndm_ifindex = link,
                   .ndm_state = NUD_PERMANENT | NUD_NOARP,
                   .ndm_flags = NTF_SELF,
                   .ndm_type = 0};
  const auto hardware = ethernet(mac);
  const auto outer = ipv4(host);
  nl_msg* message = nlmsg_alloc_simple(type, flags);
  if (!hardware || !outer || message == nullptr ||
      nlmsg_append(message, const_cast<ndmsg*>(&head), sizeof head, NLMSG_ALIGNTO) < 0 ||
      nla_put_addr(message, NDA_LLADDR, hardware.get()) < 0 || nla_put_addr(message, NDA_DST, outer.get()) < 0) {
    if (message != nullptr) nlmsg_free(message);
    return -NLE_NOMEM;
  }
  return nl_send_sync(socket, message);
}

}  // namespace

Result<void> Netlink::put_forwarding(int link, std::string_view mac, std::uint32_t host) {
  return answered(change_forwarding(socket_.get(), RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, link, mac, host),
                  "forward to host", ipv4_text(host));
}

Result<void> Netlink::remove_forwarding(int link, std::string_view mac, std::uint32_t host) {
  const int code = change_forwarding(socket_.get(), RTM_DELNEIGH, 0, link, mac, host);
  if (code == -NLE_OBJ_NOTFOUND || code == -NLE_NODEV) return {};
  return answered(code, "forward no more to host", ipv4_text(host));
}

Result<std::vector<RouteInfo>> Netlink::routes() {
  nl_cache* all = nullptr;
  NANOBOX_TRY(answered(rtnl_route_alloc_cache(socket_.get(), AF_INET, 0, &all), "list routes", ""));
  const Cache cache(all);
  std::vector<RouteInfo> found;
  for (auto* object = nl_cache_get_first(all); object != nullptr; object = nl_cache_get_next(object)) {
    auto* route = reinterpret_cast<rtnl_route*>(object);
    if (rtnl_route_get_table(route) != RT_TABLE_MAIN) continue;
    RouteInfo read{.destination = {}, .link = {}, .priority = rtnl_route_get_priority(route)};
    if (auto* destination = rtnl_route_get_dst(route); destination != nullptr && nl_addr_get_len(destination) == 4)
      read.destination = {host_order(destination), static_cast<std::uint8_t>(nl_addr_get_prefixlen(destination))};
    char name[IF_NAMESIZE];
    if (rtnl_route_get_nnexthops(route) > 0 &&
        ::if_indextoname(static_cast<unsigned>(rtnl_route_nh_get_ifindex(rtnl_route_nexthop_n(route, 0))), name) !=
            nullptr)
      read.link = name;
    found.push_back(std::move(read));
  }
  return found;
}

Result<void> Netlink::put_route(const RouteSpec& spec) {
  const auto subject = to_string(spec.destination);
  const auto route = route_of(spec);
  if (!route) return refused(-NLE_NOMEM, "add route", subject);
  return answered(rtnl_route_add(socket_.get(), route.get(), NLM_F_CREATE | NLM_F_REPLACE), "add route", subject);
}

Result<void> Netlink::remove_route(const RouteSpec& spec) {
  const auto subject = to_string(spec.destination);
  const auto route = route_of(spec);
  if (!route) return refused(-NLE_NOMEM, "remove route", subject);
  const int code = rtnl_route_delete(socket_.get(), route.get(), 0);
  if (code == -NLE_OBJ_NOTFOUND || code == -NLE_NODEV) return {};
  return answered(code, "remove route", subject);
}

Result<void> Netlink::shape(int link, std::uint32_t mbps) {
  Qdisc qdisc(rtnl_qdisc_alloc());
  const auto subject = "link " + std::to_string(link);
  if (!qdisc) return refused(-NLE_NOMEM, "limit rate", subject);
  auto* control = TC_CAST(qdisc.get());
  rtnl_tc_set_ifindex(control, link);
  rtnl_tc_set_parent(control, TC_H_ROOT);
  if (mbps == 0) {
    const int code = rtnl_qdisc_delete(socket_.get(), qdisc.get());
    if (code == -NLE_OBJ_NOTFOUND || code == -NLE_INVAL) return {};
    return answered(code, "lift rate limit", subject);
  }
  // 20 ms of burst and 100 ms of queue: small enough for the rate to hold over a second, large enough for coarse ticks.
  const auto rate = static_cast<int>(std::min<std::uint64_t>(std::uint64_t{mbps} * 125000, 2000000000));
  const int burst = std::max(rate / 50, 16 * 1024);
  NANOBOX_TRY(answered(rtnl_tc_set_kind(control, "tbf"), "limit rate", subject));
  rtnl_tc_set_handle(control, TC_HANDLE(1, 0));
  rtnl_qdisc_tbf_set_rate(qdisc.get(), rate, burst, 0);
  rtnl_qdisc_tbf_set_limit(qdisc.get(), std::max(rate / 10, 64 * 1024));
  return answered(rtnl_qdisc_add(socket_.get(), qdisc.get(), NLM_F_CREATE | NLM_F_REPLACE), "limit rate", subject);
}

Result<std::string> default_route_link(const std::vector<RouteInfo>& routes) {
  const RouteInfo* best = nullptr;
  for (const auto& route : routes)
    if (route.destination.prefix == 0 && !route.link.empty() && (best == nullptr || route.priority < best->priority))
      best = &route;
  if (best == nullptr)
    return fail({.code = ErrorCode::network_unavailable,
                 .attempted = "find the way to the internet",
                 .subject = "",
                 .reason = "this host has no default route",
                 .mend = "set network.host_iface, or add a default route"});
  return best->link;
}

}  // namespace nanobox
