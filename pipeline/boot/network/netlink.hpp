#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/error.hpp"
#include "config/ipv4_subnet.hpp"

struct nl_sock;

namespace nanobox {

/// What was sent to the kernel.
struct NetlinkTraffic {
  std::uint64_t messages = 0;
  std::uint64_t bytes = 0;

  NetlinkTraffic& operator+=(const NetlinkTraffic& other) {
    messages += other.messages;
    bytes += other.bytes;
    return *this;
  }
};

struct LinkInfo {
  int index = 0;
  std::string name;
  std::string kind;   ///< "veth", "bridge", "tun"; empty for hardware
  std::string alias;  ///< may be empty
  std::uint32_t group = 0;
  int peer = 0;  ///< a veth's other end, in the numbers of its namespace
  bool up = false;
};

struct RouteInfo {
  Ipv4Subnet destination;  ///< prefix 0: a default route
  std::string link;        ///< empty where the route has none (unreachable)
  std::uint32_t priority = 0;
};

/// A route in the main table.
struct RouteSpec {
  Ipv4Subnet destination;
  int link = 0;           ///< 0: the destination is unreachable
  std::uint32_t via = 0;  ///< on the link, whatever its addresses; 0: none
};

struct VethSpec {
  std::string name;
  std::string_view mac;
  std::string_view peer_name;
  std::string_view peer_mac;
  int peer_namespace = -1;  ///< borrowed for the call
  std::uint32_t group = 0;
  std::uint32_t mtu = 1500;
};

/// A VXLAN device that learns nothing: it sends only where `put_forwarding` says, by unicast.
struct VxlanSpec {
  std::string name;
  std::string mac;
  int underlay = 0;         ///< the link that carries it, which sets its MTU: 50 bytes less
  std::uint32_t local = 0;  ///< this host's address there
  std::uint32_t vni = 0;    ///< 24 bits
  std::uint16_t port = 4789;
  std::uint32_t group = 0;
};

/// A socket to the kernel's routing netlink, of the network namespace that the opening thread is in; it stays with
/// that namespace. All calls block for the kernel's answer. One thread at a time.
/// @errors of all: network_unavailable with the kernel's reason (and what right is missing) · conflict where a link or
/// address of the name is there already
class Netlink {
public:
  static Result<Netlink> open();

  Netlink(Netlink&&) noexcept = default;
  Netlink& operator=(Netlink&&) noexcept = default;

  Result<std::vector<LinkInfo>> links();
  Result<std::optional<LinkInfo>> find_link(const std::string& name);
  Result<void> make_bridge(const std::string& name, std::uint32_t group);
  /// Both ends by one message.
  Result<void> make_veth(const VethSpec& spec);
  Result<void> make_vxlan(const VxlanSpec& spec);
  Result<void> remove_link(int index);
  Result<void> set_up(int index);
  Result<void> set_alias(int index, const std::string& alias);
  Result<void> set_mac(int index, std::string_view mac);

  Result<std::vector<Ipv4Subnet>> addresses(int link);  ///< the address as `base`, not its network
  /// Gives the link an address without a route to its network. Nothing happens when it is there.
  Result<void> add_address(int link, std::uint32_t address, std::uint8_t prefix);
  Result<void> remove_address(int link, std::uint32_t address, std::uint8_t prefix);
  /// A neighbour that nobody needs to ask for.
  Result<void> add_neighbour(int link, std::uint32_t address, std::string_view mac);

  /// Nothing happens when it is not there.
  Result<void> remove_neighbour(int link, std::uint32_t address);
  /// Which host a VXLAN device sends frames for that MAC to.
  Result<void> put_forwarding(int link, std::string_view mac, std::uint32_t host);
  /// Nothing happens when it is not there.
  Result<void> remove_forwarding(int link, std::string_view mac, std::uint32_t host);

  /// Unicast and unreachable routes of the main table.
  Result<std::vector<RouteInfo>> routes();
  /// Adds the route or replaces the one to the same destination.
  Result<void> put_route(const RouteSpec& route);
  /// Nothing happens when it is not there.
  Result<void> remove_route(const RouteSpec& route);

  /// Limits what the link sends, by a token bucket; 0 lifts the limit.
  Result<void> shape(int link, std::uint32_t mbps);

  /// Since it was opened.
  const NetlinkTraffic& traffic() const { return *traffic_; }

private:
  struct Closer {
    void operator()(nl_sock* socket) const noexcept;
  };
  explicit Netlink(nl_sock* socket);

  std::unique_ptr<NetlinkTraffic> traffic_;
  std::unique_ptr<nl_sock, Closer> socket_;
};

/// The link of the default route with the lowest metric. @errors network_unavailable when there is none
Result<std::string> default_route_link(const std::vector<RouteInfo>& routes);

}  // namespace nanobox
