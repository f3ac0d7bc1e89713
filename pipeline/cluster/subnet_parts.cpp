#include "pipeline/cluster/subnet_parts.hpp"

namespace nanobox {

Result<Ipv4Subnet> free_subnet_part(const Ipv4Subnet& subnet, const std::set<std::string>& taken) {
  for (const auto& part : parts_of(subnet))
    if (!taken.contains(to_string(part))) return part;
  return fail({.code = ErrorCode::no_address,
               .attempted = "give a node its part of",
               .subject = to_string(subnet),
               .reason = "all parts are other nodes'",
               .mend = "remove nodes that are no more, or use a larger [network] subnet"});
}

}  // namespace nanobox
