#include "http/resources/network_field.hpp"

#include <algorithm>

#include "pipeline/boot/network/dns/name_pattern.hpp"
#include "pipeline/boot/network/ipv4_ranges.hpp"

namespace nanobox::http {

namespace {

constexpr std::size_t kListMax = 256;
constexpr std::int64_t kRateMax = 100'000;

/// A list that only `internet` has, each entry of which `parse` takes.
template <class Parse>
std::vector<std::string> read_list(json::ObjectReader& network, std::string_view name, bool internet, Parse parse) {
  auto entries = network.texts(name, kListMax).value_or(std::vector<std::string>());
  if (!entries.empty() && !internet)
    network.complaints().invalid(network.pointer_to(name), "is for mode internet only");
  for (std::size_t i = 0; i < entries.size(); ++i)
    if (const auto parsed = parse(entries[i]); !parsed)
      network.complaints().invalid(
          network.pointer_to(name) + "/" + std::to_string(i),
          parsed.error().reason + (parsed.error().mend.empty() ? "" : "; " + parsed.error().mend));
  return entries;
}

bool is_group_name(const std::string& group) {
  return group.size() <= 64 && std::ranges::all_of(group, [](unsigned char c) {
           return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.';
         });
}

}  // namespace

SandboxNetwork read_network(json::ObjectReader& network, const std::string& default_mode) {
  SandboxNetwork wanted;
  wanted.mode = network.choice("mode", {"isolated", "internal", "internet"}).value_or(default_mode);
  wanted.group = network.text("group").value_or("");
  if (!is_group_name(wanted.group))
    network.complaints().invalid(network.pointer_to("group"), "must be at most 64 letters, digits, '-', '_' and '.'");
  if (!wanted.group.empty() && wanted.mode != "internal")
    network.complaints().invalid(network.pointer_to("group"), "is for mode internal only");
  wanted.rate_limit_mbps = static_cast<std::uint32_t>(network.integer("rate_limit_mbps", 0, kRateMax).value_or(0));
  const bool internet = wanted.mode == "internet";
  wanted.allow_domains = read_list(network, "allow_domains", internet, NamePattern::parse);
  wanted.allow_cidrs = read_list(network, "allow_cidrs", internet, parse_cidr);
  wanted.deny_cidrs = read_list(network, "deny_cidrs", internet, parse_cidr);
  return wanted;
}

}  // namespace nanobox::http
