#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/error.hpp"

namespace nanobox {

/// An IPv4 network: its first address in host byte order, and the length of its prefix.
struct Ipv4Subnet {
  std::uint32_t base = 0;
  std::uint8_t prefix = 0;

  std::uint32_t mask() const { return prefix == 0 ? 0 : ~std::uint32_t{0} << (32 - prefix); }
  bool contains(std::uint32_t address) const { return (address & mask()) == base; }
  bool operator==(const Ipv4Subnet&) const = default;
};

/// Reads "10.100.0.0/16"; prefixes 8 to 30, no bits set behind the prefix.
/// @errors config_invalid, with the network meant as the mend
Result<Ipv4Subnet> parse_subnet(std::string_view text);
std::string to_string(const Ipv4Subnet& subnet);

/// The parts in which a cluster's nodes lease it, lowest first: of 256 addresses, of a network below /20 sixteenths.
/// None for one that is too small to be shared (above /26).
std::vector<Ipv4Subnet> parts_of(const Ipv4Subnet& subnet);

/// "10.100.0.1" for 0x0A640001.
std::string ipv4_text(std::uint32_t address);
/// The other way round.
std::optional<std::uint32_t> parse_ipv4(std::string_view text);

/// The gateway's address, and the default resolver's: the first behind the network's own.
std::string first_address(const Ipv4Subnet& subnet);

}  // namespace nanobox
