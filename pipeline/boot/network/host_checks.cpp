#include "pipeline/boot/network/host_checks.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <charconv>
#include <fstream>
#include <sstream>

#include "config/unique_fd.hpp"
#include "pipeline/boot/network/network_namespace.hpp"
#include "pipeline/boot/network/nft_text.hpp"

namespace nanobox {
namespace {

constexpr std::uint64_t kConnectionsOfSome = 65'536;

std::uint64_t effective_capabilities() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("CapEff:")) return std::stoull(line.substr(7), nullptr, 16);
  return 0;
}

HostCheck check_rights() {
  constexpr std::uint64_t net_admin = 1ULL << 12, sys_admin = 1ULL << 21;  // capability.h
  const auto held = effective_capabilities();
  HostCheck check{.name = "network rights", .detail = "CAP_NET_ADMIN, CAP_SYS_ADMIN and /dev/net/tun"};
  if ((held & net_admin) == 0 || (held & sys_admin) == 0) {
    check.detail = "CAP_NET_ADMIN and CAP_SYS_ADMIN are not both there: sandboxes have no interface";
    check.mend = "run nanoboxd as root";
    return check;
  }
  const UniqueFd tun(::open("/dev/net/tun", O_RDWR | O_CLOEXEC));
  if (!tun) {
    check.detail = errno_error(errno, "", "").reason + ": /dev/net/tun";
    check.mend = "modprobe tun";
    return check;
  }
  check.ok = true;
  return check;
}

HostCheck check_forwarding() {
  const auto on = forwards_packets();
  if (!on) return {.name = "ip_forward", .detail = describe(on.error()), .mend = "mount /proc/sys"};
  if (*on) return {.name = "ip_forward", .ok = true, .detail = "on"};
  if (::access("/proc/sys/net/ipv4/ip_forward", W_OK) == 0)
    return {.name = "ip_forward", .ok = true, .detail = "off; nanoboxd turns it on when a sandbox is to reach others"};
  return {.name = "ip_forward",
          .detail = "off, and it cannot be turned on from here: only mode isolated works",
          .mend = "sysctl -w net.ipv4.ip_forward=1"};
}

/// Sandboxes are routed, so that what bridges do to packets does not matter to them.
HostCheck check_bridge_netfilter() {
  const auto value = read_sysctl("net/bridge/bridge-nf-call-iptables");
  return {
      .name = "br_netfilter",
      .ok = true,
      .detail = !value ? "not loaded" : (value->starts_with('1') ? "on; sandboxes are routed, not bridged" : "off")};
}

HostCheck check_firewalls(const std::string& table) {
  const auto listing = ask_nft("list chains");
  if (!listing) return {.name = "firewalls", .detail = describe(listing.error()), .mend = listing.error().mend};
  std::string chains;
  for (const auto& chain : dropping_forward_chains(*listing))
    if (!chain.starts_with("inet " + table + " ")) chains += (chains.empty() ? "" : ", ") + chain;
  std::ifstream legacy("/proc/net/ip_tables_names");
  std::string name;
  bool has_legacy_filter = false;
  while (std::getline(legacy, name)) has_legacy_filter = has_legacy_filter || name == "filter";
  if (!chains.empty())
    return {.name = "firewalls",
            .detail = "forwarded packets are dropped by " + chains + ": internal and internet do not work",
            .mend =
                "accept there what comes from and goes to nb*, as with: iptables -I FORWARD -i nb+ -j ACCEPT; "
                "iptables -I FORWARD -o nb+ -j ACCEPT (with Docker: DOCKER-USER instead of FORWARD)"};
  return {.name = "firewalls",
          .ok = true,
          .detail = has_legacy_filter ? "none of nftables drops what is forwarded; see iptables-legacy -S FORWARD too"
                                      : "none drops what is forwarded"};
}

HostCheck check_connections() {
  const auto value = read_sysctl("net/netfilter/nf_conntrack_max");
  if (!value) return {.name = "nf_conntrack_max", .ok = true, .detail = "not loaded yet"};
  std::uint64_t most = 0;
  std::from_chars(value->data(), value->data() + value->size(), most);
  const bool ok = most >= kConnectionsOfSome;
  return {.name = "nf_conntrack_max",
          .ok = ok,
          .detail = std::to_string(most) + " connections of all sandboxes and the host; one may have 2048",
          .mend = ok ? "" : "sysctl -w net.netfilter.nf_conntrack_max=262144"};
}

}  // namespace

std::vector<std::string> dropping_forward_chains(std::string_view listing) {
  std::vector<std::string> found;
  std::istringstream lines{std::string(listing)};
  std::string table, chain;
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string first, second, third;
    words >> first >> second >> third;
    if (first == "table") table = second + " " + third;
    if (first == "chain") chain = second;
    if (first == "type" && line.find(" hook forward ") != std::string::npos &&
        line.find("policy drop") != std::string::npos)
      found.push_back(table + " " + chain);
  }
  return found;
}

std::vector<HostCheck> check_host_network(const HostNetworkSettings& settings) {
  std::vector<HostCheck> checks{check_rights()};
  if (!checks.front().ok) return checks;
  const auto free = HostNetwork::check_subnet_is_free(settings);
  checks.push_back({.name = "subnet",
                    .ok = free.has_value(),
                    .detail = free ? to_string(settings.subnet) : free.error().reason,
                    .mend = free ? "" : free.error().mend});
  checks.push_back(check_forwarding());
  checks.push_back(check_bridge_netfilter());
  checks.push_back(check_firewalls(network_names(settings.bridge_name).table));
  checks.push_back(check_connections());
  return checks;
}

}  // namespace nanobox
