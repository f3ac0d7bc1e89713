#include "pipeline/boot/network/host_ruleset.hpp"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <net/if.h>

#include <algorithm>
#include <cstring>
#include <map>

#include "pipeline/boot/network/ipv4_ranges.hpp"
#include "pipeline/boot/network/subnet.hpp"

namespace nanobox::host_ruleset {
namespace {

// $ours: the host's ends of our veths. $gateway: where the resolver listens. $overlay: the VXLAN device to other nodes,
// which may be missing.
constexpr std::string_view rules = R"(
  set uplinks { typeof oifname; }
  set unreachable { type ipv4_addr; flags interval; }
  set talking { typeof iifname . ip saddr; }
  map zones { typeof iifname . ip saddr : ct zone; }
  map leaving { typeof iifname . ip saddr : verdict; }
  map entering { typeof oifname . ip daddr : verdict; }
  map groups { typeof iifname . ip saddr : meta mark; }
  set members { typeof meta mark . ip daddr; }
  set remote { typeof meta mark . ip daddr; }
  set peers { typeof iifname . ip saddr; }

  chain prerouting {
    type filter hook prerouting priority raw; policy accept;
    iifname $ours goto arriving
    iifname $overlay meta nfproto != ipv4 drop
  }
  chain arriving {
    meta nfproto != ipv4 drop
    iifname . ip saddr != @talking drop
    ct original zone set iifname . ip saddr map @zones
  }

  chain forward {
    type filter hook forward priority filter; policy accept;
    iifname $ours goto from_sandbox
    iifname $overlay goto from_overlay
    oifname $ours goto to_sandbox
    oifname $overlay drop
  }
  chain from_sandbox {
    iifname . ip saddr vmap @leaving
    drop
  }
  chain isolated {
    drop
  }
  chain from_internal {
    meta mark set iifname . ip saddr map @groups
    oifname $overlay goto to_overlay
    oifname != $ours drop
    meta mark . ip daddr @members accept
    drop
  }
  chain to_overlay {
    tcp flags & (syn | rst) == syn tcp option maxseg size set rt mtu
    meta mark . ip daddr @remote accept
    drop
  }
  chain from_overlay {
    meta mark set 0
    oifname != $ours drop
    meta mark set oifname . ip daddr map @groups
    meta mark . ip saddr @remote accept
    drop
  }
  chain from_internet {
    oifname != @uplinks drop
    ip daddr @unreachable drop
    ct state invalid drop
    tcp flags & (syn | rst) == syn tcp option maxseg size set rt mtu
    accept
  }
  chain to_sandbox {
    oifname . ip daddr vmap @entering
    drop
  }
  chain to_internet {
    iifname @uplinks ct state established,related ct direction reply accept
    drop
  }

  chain input {
    type filter hook input priority filter; policy accept;
    iifname $ours goto to_host
    iifname $overlay drop
    udp dport 4789 @th,96,24 $vni iifname . ip saddr != @peers drop
    ip daddr $gateway iifname != { "lo", $bridge } drop
  }
  chain to_host {
    ip daddr $gateway udp dport 53 accept
    ip daddr $gateway tcp dport 53 accept
    drop
  }
  chain output {
    type filter hook output priority filter; policy accept;
    oifname $ours goto from_host
    oifname $overlay drop
  }
  chain from_host {
    oifname . ip daddr != @talking drop
    ip saddr $gateway meta l4proto { tcp, udp } th sport 53 ct direction reply accept
    icmp type { destination-unreachable, time-exceeded, parameter-problem } ct state related accept
    drop
  }

  chain unmarked {
    type filter hook postrouting priority mangle; policy accept;
    iifname $ours oifname $ours meta mark set 0
    iifname $ours oifname $overlay meta mark set 0
    iifname $overlay oifname $ours meta mark set 0
  }
  chain postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    iifname $ours oifname @uplinks masquerade
  }
)";

std::string quoted(std::string_view text) {
  return "\"" + std::string(text) + "\"";
}

std::string with(std::string text, std::string_view name, const std::string& value) {
  for (auto at = text.find(name); at != std::string::npos; at = text.find(name, at + value.size()))
    text.replace(at, name.size(), value);
  return text;
}

std::string chain_of(NetworkMode mode) {
  switch (mode) {
    case NetworkMode::isolated:
      return "isolated";
    case NetworkMode::internal:
      return "from_internal";
    case NetworkMode::internet:
      return "from_internet";
  }
  return "isolated";
}

/// One of 65535, never 0, which is everybody else's. Two sandboxes that share one still differ by address.
std::uint16_t zone_of(std::uint32_t address, const Ipv4Subnet& subnet) {
  return static_cast<std::uint16_t>((address - subnet.base) % 65535 + 1);
}

std::string key_of(const std::string& link, std::uint32_t address) {
  return nft_link(link) + nft_address(address);
}

/// Elements by set, as nft writes them: one command for each set, however many there are.
using ElementTexts = std::map<std::string, std::string>;

void add(ElementTexts& texts, const std::string& set, const std::string& element) {
  auto& text = texts[set];
  text += (text.empty() ? "" : ", ") + element;
}

void add(ElementTexts& texts, const Ipv4Subnet& subnet, const HostAttachment& attachment) {
  const auto key = quoted(attachment.link) + " . " + ipv4_text(attachment.address);
  add(texts, "zones", key + " : " + std::to_string(zone_of(attachment.address, subnet)));
  add(texts, "leaving", key + " : goto " + chain_of(attachment.mode));
  if (attachment.mode == NetworkMode::isolated) return;
  add(texts, "talking", key);
  if (attachment.mode == NetworkMode::internet) return add(texts, "entering", key + " : goto to_internet");
  const auto group = std::to_string(attachment.group);
  add(texts, "groups", key + " : " + group);
  add(texts, "members", group + " . " + ipv4_text(attachment.address));
}

}  // namespace

NftTable table(const NetworkNames& names) {
  return {.family = NFPROTO_INET, .name = names.table};
}

std::string removal(const NetworkNames& names) {
  const auto table = "table inet " + names.table;
  return "add " + table + "\ndelete " + table + "\n";
}

std::string text(const NetworkNames& names, const Ipv4Subnet& subnet, const std::string& uplink,
                 std::span<const HostAttachment> attachments) {
  std::string body(rules);
  body = with(body, "$ours", quoted(names.link_prefix + "*"));
  body = with(body, "$gateway", ipv4_text(gateway_of(subnet)));
  body = with(body, "$bridge", quoted(names.bridge));
  body = with(body, "$overlay", quoted(names.overlay));
  body = with(body, "$vni", std::to_string(vni_of(subnet)));
  std::string text =
      removal(names) + "table inet " + names.table + " {\n  comment " + quoted(names.alias) + body + "}\n";
  ElementTexts texts;
  if (!uplink.empty()) add(texts, "uplinks", quoted(uplink));
  std::vector<Ipv4Subnet> never(unreachable_networks().begin(), unreachable_networks().end());
  never.push_back(subnet);
  for (const auto& range : ranges_of(never))
    add(texts, "unreachable", ipv4_text(range.first) + "-" + ipv4_text(range.last));
  for (const auto& attachment : attachments) add(texts, subnet, attachment);
  for (const auto& [set, elements] : texts)
    text.append("add element inet ")
        .append(names.table)
        .append(" ")
        .append(set)
        .append(" { ")
        .append(elements)
        .append(" }\n");
  return text;
}

std::vector<NftElement> elements(const HostAttachment& attachment, const Ipv4Subnet& subnet) {
  const auto key = key_of(attachment.link, attachment.address);
  std::vector<NftElement> all{
      {.set = "zones", .key = key, .data = nft_short_number(zone_of(attachment.address, subnet))},
      {.set = "leaving", .key = key, .chain = chain_of(attachment.mode)}};
  if (attachment.mode == NetworkMode::isolated) return all;
  all.push_back({.set = "talking", .key = key});
  if (attachment.mode == NetworkMode::internet) {
    all.push_back({.set = "entering", .key = key, .chain = "to_internet"});
    return all;
  }
  all.push_back({.set = "groups", .key = key, .data = nft_number(attachment.group)});
  all.push_back({.set = "members", .key = nft_number(attachment.group) + nft_address(attachment.address)});
  return all;
}

std::uint32_t vni_of(const Ipv4Subnet& subnet) {
  return 0x6e0000U | ((subnet.base >> 16 ^ subnet.base ^ subnet.prefix) & 0xffffU);
}

NftElement remote(std::uint32_t group, std::uint32_t address) {
  return {.set = "remote", .key = nft_number(group) + nft_address(address)};
}

NftElement peer(std::string_view underlay, std::uint32_t address) {
  return {.set = "peers", .key = nft_link(underlay) + nft_address(address)};
}

NftBatch change(const NetworkNames& names, const Ipv4Subnet& subnet, const std::optional<HostAttachment>& before,
                const std::optional<HostAttachment>& after) {
  const auto old = before ? elements(*before, subnet) : std::vector<NftElement>{};
  const auto wanted = after ? elements(*after, subnet) : std::vector<NftElement>{};
  const auto missing_in = [](const std::vector<NftElement>& from, const std::vector<NftElement>& other) {
    std::vector<NftElement> left;
    std::copy_if(from.begin(), from.end(), std::back_inserter(left), [&](const NftElement& element) {
      return std::find(other.begin(), other.end(), element) == other.end();
    });
    return left;
  };
  NftBatch batch(table(names));
  batch.remove(missing_in(old, wanted));
  batch.add(missing_in(wanted, old));
  return batch;
}

std::vector<HostAttachment> read(std::span<const NftElement> verdicts, std::span<const NftElement> groups) {
  std::vector<HostAttachment> found;
  for (const auto& verdict : verdicts) {
    if (verdict.key.size() < IFNAMSIZ + 4) continue;
    std::uint32_t network;
    std::memcpy(&network, verdict.key.data() + IFNAMSIZ, sizeof network);
    HostAttachment attachment{.link = verdict.key.substr(0, verdict.key.find('\0')), .address = ntohl(network)};
    for (const auto mode : {NetworkMode::internal, NetworkMode::internet})
      if (verdict.chain == chain_of(mode)) attachment.mode = mode;
    const auto group = std::find_if(groups.begin(), groups.end(), [&](const auto& g) { return g.key == verdict.key; });
    if (group != groups.end() && group->data.size() == sizeof attachment.group)
      std::memcpy(&attachment.group, group->data.data(), sizeof attachment.group);
    found.push_back(std::move(attachment));
  }
  return found;
}

}  // namespace nanobox::host_ruleset
