#include "pipeline/boot/network/subnet.hpp"

#include <algorithm>
#include <optional>

namespace nanobox {
namespace {

const RouteInfo* colliding(const Ipv4Subnet& subnet, std::span<const RouteInfo> routes) {
  const auto found = std::find_if(routes.begin(), routes.end(), [&](const RouteInfo& route) {
    return route.destination.prefix != 0 && overlap(subnet, route.destination);
  });
  return found == routes.end() ? nullptr : &*found;
}

std::optional<Ipv4Subnet> free_like(const Ipv4Subnet& subnet, std::span<const RouteInfo> routes) {
  const std::uint64_t size = std::uint64_t{1} << (32 - subnet.prefix);
  for (std::uint64_t base = 0x0A640000 & subnet.mask(); base + size <= 0x0B000000; base += size) {
    const Ipv4Subnet candidate{static_cast<std::uint32_t>(base), subnet.prefix};
    if (colliding(candidate, routes) == nullptr) return candidate;
  }
  return std::nullopt;
}

}  // namespace

bool overlap(const Ipv4Subnet& a, const Ipv4Subnet& b) {
  return a.contains(b.base) || b.contains(a.base);
}

std::uint32_t sandbox_addresses(const Ipv4Subnet& subnet) {
  return subnet.prefix > 30 ? 0 : ~subnet.mask() - 2;
}

Result<void> check_subnet(const Ipv4Subnet& subnet, std::span<const RouteInfo> routes) {
  Error error{.code = ErrorCode::config_invalid,
              .attempted = "use network.subnet",
              .subject = to_string(subnet),
              .reason = "its prefix length is not 12 to 30",
              .mend = "choose a network such as 10.100.0.0/16"};
  if (subnet.prefix < 12 || subnet.prefix > 30) return fail(std::move(error));
  const auto* route = colliding(subnet, routes);
  if (route == nullptr) return {};
  error.reason = "this host has a route to " + to_string(route->destination) +
                 (route->link.empty() ? std::string() : " on " + route->link);
  const auto candidate = free_like(subnet, routes);
  error.mend = candidate ? "set network.subnet to a network that is free, such as " + to_string(*candidate)
                         : "set network.subnet to a smaller network that is free";
  return fail(std::move(error));
}

}  // namespace nanobox
