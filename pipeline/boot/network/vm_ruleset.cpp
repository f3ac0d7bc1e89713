#include "pipeline/boot/network/vm_ruleset.hpp"

#include <linux/netfilter.h>

#include <algorithm>
#include <map>
#include <vector>

#include "pipeline/boot/network/names.hpp"
#include "pipeline/boot/network/subnet.hpp"

namespace nanobox::vm_ruleset {
namespace {

constexpr std::string_view rules = R"(
table netdev nanobox {
  chain from_guest {
    type filter hook ingress device "tap0" priority -500; policy drop;
    limit rate over $packets/second burst $burst packets drop
    ether saddr != $guest_mac drop
    arp htype 1 arp ptype ip arp operation request arp saddr ether $guest_mac arp saddr ip $guest arp daddr ip $inner_gateway accept
    ether daddr $tap_mac ip saddr $guest accept
  }
  chain from_host {
    type filter hook ingress device "out0" priority -500; policy drop;
    limit rate over $packets/second burst $burst packets drop
    ether type ip accept
  }
}
table ip nanobox {
  set ours { typeof ip daddr; }
  map outer { typeof oifname : ip saddr; }
  set allowed { typeof ip daddr; flags interval; }
  set denied { typeof ip daddr; flags interval; }
  set named { typeof ip daddr; flags timeout; size 16384; }
  set epoch { typeof ct mark; }
  map epochs { typeof iifname : ct mark; }

  chain prerouting {
    type filter hook prerouting priority raw; policy drop;
    iifname "tap0" ip saddr $guest accept
    iifname "out0" ip daddr @ours accept
    iifname "lo" accept
  }
  chain map_in {
    type nat hook prerouting priority dstnat; policy accept;
    iifname "tap0" udp dport 53 dnat to $gateway
    iifname "tap0" tcp dport 53 dnat to $gateway
    iifname "out0" dnat to $guest
  }
  chain forward {
    type filter hook forward priority filter; policy drop;
    ct state new ct status & confirmed == 0 ct count over $connections drop
    iifname "tap0" oifname "out0" goto leaving
    iifname "out0" oifname "tap0" goto entering
  }
  chain leaving {
    meta l4proto tcp ct state invalid reject with tcp reset
    ct state invalid drop
    ct state related meta l4proto icmp accept
    ip daddr $gateway meta l4proto { tcp, udp } th dport 53 accept
    ip daddr @allowed accept
    ip daddr @denied drop
    ct mark @epoch accept
    ip daddr @named ct mark set iifname map @epochs accept
  }
  chain entering {
    ct state invalid drop
    ct state related meta l4proto icmp accept
    ct state new ip saddr != $subnet drop
    ip saddr $gateway meta l4proto { tcp, udp } th sport 53 accept
    ip saddr @allowed accept
    ip saddr @denied drop
    ct mark @epoch accept
    ip saddr @named accept
  }
  chain map_out {
    type nat hook postrouting priority srcnat; policy accept;
    oifname "out0" snat to oifname map @outer
  }
  chain input {
    type filter hook input priority filter; policy drop;
    iifname "lo" accept
  }
  chain output {
    type filter hook output priority filter; policy drop;
    oifname { "lo", "tap0" } accept
  }
}
)";

std::string with(std::string text, std::string_view name, const std::string& value) {
  for (auto at = text.find(name); at != std::string::npos; at = text.find(name, at + value.size()))
    text.replace(at, name.size(), value);
  return text;
}

void put_policy(NftBatch& batch, const NetworkPolicy& policy, const Ipv4Subnet& subnet, std::uint32_t epoch) {
  const auto [allowed, denied] = reach(policy, subnet);
  for (const auto* set : {"allowed", "denied", "named", "epoch", "epochs"}) batch.flush(set);
  batch.add(nft_intervals("allowed", allowed));
  batch.add(nft_intervals("denied", denied));
  batch.add(std::vector<NftElement>{
      {.set = "epoch", .key = nft_number(epoch)},
      {.set = "epochs", .key = nft_link(vm_side::tap), .data = nft_number(epoch)},
  });
}

}  // namespace

NftTable table() {
  return {.family = NFPROTO_IPV4, .name = "nanobox"};
}

std::string text(const Ipv4Subnet& subnet, const NetworkLimits& limits) {
  const std::pair<std::string_view, std::string> values[] = {
      {"$packets", std::to_string(limits.packets_per_second)},
      {"$burst", std::to_string(std::max(limits.packets_per_second / 10, 1U))},
      {"$connections", std::to_string(limits.max_connections)},
      {"$guest_mac", std::string(vm_side::guest_mac)},
      {"$tap_mac", std::string(vm_side::tap_mac)},
      {"$guest", ipv4_text(vm_side::guest)},
      {"$inner_gateway", ipv4_text(vm_side::gateway)},
      {"$gateway", ipv4_text(gateway_of(subnet))},
      {"$subnet", to_string(subnet)},
  };
  std::string text(rules);
  for (const auto& [name, value] : values) text = with(std::move(text), name, value);
  return text;
}

Reach reach(const NetworkPolicy& policy, const Ipv4Subnet& subnet) {
  const std::vector<Ipv4Subnet> everything{{}};
  const std::vector<Ipv4Subnet> siblings{subnet};
  if (policy.mode == NetworkMode::isolated) return {.allowed = {}, .denied = ranges_of(everything)};
  if (policy.mode == NetworkMode::internal) {
    const auto gateway = gateway_of(subnet);
    const auto allowed = without(ranges_of(siblings), {{gateway, gateway}});
    return {.allowed = allowed, .denied = without(ranges_of(everything), allowed)};
  }
  std::vector<Ipv4Subnet> denied(unreachable_networks().begin(), unreachable_networks().end());
  denied.push_back(subnet);
  denied.insert(denied.end(), policy.deny_cidrs.begin(), policy.deny_cidrs.end());
  const auto cut = ranges_of(denied);
  return {.allowed = without(ranges_of(policy.narrowed() ? policy.allow_cidrs : everything), cut), .denied = cut};
}

NftBatch attach(std::uint32_t address, const NetworkPolicy& policy, const Ipv4Subnet& subnet, std::uint32_t epoch) {
  NftBatch batch(table());
  batch.flush("ours");
  batch.flush("outer");
  batch.add(std::vector<NftElement>{
      {.set = "ours", .key = nft_address(address)},
      {.set = "outer", .key = nft_link(vm_side::out), .data = nft_address(address)},
  });
  put_policy(batch, policy, subnet, epoch);
  return batch;
}

NftBatch change(const NetworkPolicy& policy, const Ipv4Subnet& subnet, std::uint32_t epoch) {
  NftBatch batch(table());
  put_policy(batch, policy, subnet, epoch);
  return batch;
}

NftBatch detach() {
  NftBatch batch(table());
  batch.flush("ours");
  batch.flush("outer");
  batch.flush("allowed");
  return batch;
}

NftBatch allow(std::span<const NamedAddress> addresses) {
  std::map<std::uint32_t, std::chrono::seconds> longest;
  for (const auto& [address, lifetime] : addresses) longest[address] = std::max(longest[address], lifetime);
  std::vector<NftElement> bare;
  std::vector<NftElement> timed;
  for (const auto& [address, lifetime] : longest) {
    bare.push_back({.set = "named", .key = nft_address(address)});
    timed.push_back({.set = "named", .key = nft_address(address), .timeout = lifetime});
  }
  // An element that is there keeps its old end: made sure of, removed and added, it has the new one.
  NftBatch batch(table());
  batch.add(bare);
  batch.remove(bare);
  batch.add(timed);
  return batch;
}

}  // namespace nanobox::vm_ruleset
