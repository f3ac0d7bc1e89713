#include "pipeline/cluster/subnet_parts.hpp"

#include <algorithm>
#include <vector>

namespace nanobox {

Result<Ipv4Subnet> free_subnet_part(const Ipv4Subnet& subnet, const std::set<std::string>& taken) {
  std::vector<Ipv4Subnet> others;
  for (const auto& text : taken)
    if (const auto other = parse_subnet(text)) others.push_back(*other);
  for (const auto& part : parts_of(subnet))
    if (std::ranges::none_of(others,
                             [&](const auto& other) { return other.contains(part.base) || part.contains(other.base); }))
      return part;
  return fail({.code = ErrorCode::no_address,
               .attempted = "give a node its part of",
               .subject = to_string(subnet),
               .reason = "all parts are other nodes'",
               .mend = "remove nodes that are no more, or use a larger [network] subnet"});
}

bool runs_low(std::uint32_t free, std::uint32_t of) {
  return std::uint64_t{free} * 8 < of;
}

}  // namespace nanobox
