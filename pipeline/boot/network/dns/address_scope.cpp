#include "pipeline/boot/network/dns/address_scope.hpp"

#include <algorithm>

#include "pipeline/boot/network/ipv4_ranges.hpp"

namespace nanobox {

namespace {

std::uint32_t ipv4_in(const std::array<std::uint8_t, 16>& address, std::size_t at) {
  return std::uint32_t{address[at]} << 24 | std::uint32_t{address[at + 1]} << 16 | std::uint32_t{address[at + 2]} << 8 |
         address[at + 3];
}

bool begins(const std::array<std::uint8_t, 16>& address, std::initializer_list<std::uint8_t> bytes) {
  return std::ranges::equal(bytes, std::span(address).first(bytes.size()));
}

}  // namespace

bool is_public_address(std::uint32_t address, std::span<const Ipv4Subnet> inside) {
  const auto holds = [address](const Ipv4Subnet& subnet) { return subnet.contains(address); };
  return std::ranges::none_of(unreachable_networks(), holds) && std::ranges::none_of(inside, holds);
}

bool is_public_address(const std::array<std::uint8_t, 16>& address, std::span<const Ipv4Subnet> inside) {
  const bool ten_zeros = std::ranges::all_of(std::span(address).first(10), [](auto one) { return one == 0; });
  // Compatible and mapped ones; :: and ::1 are 0.0.0.0 and 0.0.0.1.
  if (ten_zeros && ((address[10] == 0 && address[11] == 0) || (address[10] == 0xFF && address[11] == 0xFF)))
    return is_public_address(ipv4_in(address, 12), inside);
  if (begins(address, {0x00, 0x64, 0xFF, 0x9B, 0, 0, 0, 0, 0, 0, 0, 0}))
    return is_public_address(ipv4_in(address, 12), inside);
  if (begins(address, {0x20, 0x02})) return is_public_address(ipv4_in(address, 2), inside);
  // Of all the rest only 2000::/3 is given out; it leaves out local (fc00::/7), link-local, site-local and multicast.
  return (address[0] & 0xE0) == 0x20;
}

}  // namespace nanobox
