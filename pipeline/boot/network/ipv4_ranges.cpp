#include "pipeline/boot/network/ipv4_ranges.hpp"

#include <algorithm>
#include <array>
#include <charconv>

namespace nanobox {
namespace {

constexpr std::uint32_t last_address = 0xffffffff;

constexpr Ipv4Subnet network(std::uint32_t a, std::uint32_t b, std::uint32_t c, std::uint8_t prefix) {
  return {.base = a << 24 | b << 16 | c << 8, .prefix = prefix};
}

constexpr std::array<Ipv4Subnet, 11> unreachable{
    network(0, 0, 0, 8),      network(10, 0, 0, 8),    network(100, 64, 0, 10), network(127, 0, 0, 8),
    network(169, 254, 0, 16), network(172, 16, 0, 12), network(192, 0, 0, 24),  network(192, 168, 0, 16),
    network(198, 18, 0, 15),  network(224, 0, 0, 4),   network(240, 0, 0, 4),
};

tl::unexpected<Error> refuse(std::string_view text, std::string reason, std::string mend) {
  return fail({.code = ErrorCode::invalid_value,
               .attempted = "read network",
               .subject = std::string(text),
               .reason = std::move(reason),
               .mend = std::move(mend)});
}

}  // namespace

Ipv4Range range_of(const Ipv4Subnet& prefix) {
  return {prefix.base, prefix.base | ~prefix.mask()};
}

Ipv4Ranges ranges_of(std::span<const Ipv4Subnet> prefixes) {
  Ipv4Ranges sorted;
  for (const auto& prefix : prefixes) sorted.push_back(range_of(prefix));
  std::sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  Ipv4Ranges merged;
  for (const auto& range : sorted) {
    if (!merged.empty() && (merged.back().last == last_address || range.first <= merged.back().last + 1))
      merged.back().last = std::max(merged.back().last, range.last);
    else
      merged.push_back(range);
  }
  return merged;
}

Ipv4Ranges without(const Ipv4Ranges& from, const Ipv4Ranges& cut) {
  Ipv4Ranges left;
  for (auto range : from) {
    bool whole = true;
    for (const auto& hole : cut) {
      if (hole.last < range.first) continue;
      if (hole.first > range.last) break;
      if (hole.first > range.first) left.push_back({range.first, hole.first - 1});
      if (hole.last >= range.last) {
        whole = false;
        break;
      }
      range.first = hole.last + 1;
    }
    if (whole) left.push_back(range);
  }
  return left;
}

bool contains(const Ipv4Ranges& ranges, std::uint32_t address) {
  return std::any_of(ranges.begin(), ranges.end(),
                     [&](const auto& range) { return range.first <= address && address <= range.last; });
}

Result<Ipv4Subnet> parse_cidr(std::string_view text) {
  const std::string example = "write an IPv4 network such as 192.0.2.0/24, or one address";
  const auto slash = text.find('/');
  const auto address = parse_ipv4(text.substr(0, slash));
  if (!address) return refuse(text, "it is no IPv4 network", example);
  Ipv4Subnet network{.base = *address, .prefix = 32};
  if (slash != std::string_view::npos) {
    const auto digits = text.substr(slash + 1);
    const auto [end, wrong] = std::from_chars(digits.data(), digits.data() + digits.size(), network.prefix);
    if (wrong != std::errc{} || end != digits.data() + digits.size() || network.prefix > 32)
      return refuse(text, "the prefix length must be 0 to 32", example);
  }
  if ((network.base & ~network.mask()) != 0) {
    network.base &= network.mask();
    return refuse(text, "bits are set behind the prefix", "did you mean " + to_string(network) + "?");
  }
  return network;
}

std::span<const Ipv4Subnet> unreachable_networks() {
  return unreachable;
}

}  // namespace nanobox
