#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "config/ipv4_subnet.hpp"

namespace nanobox {

/// Whether a public name may have this address: not private, loopback, link-local, multicast, unspecified, shared or
/// reserved (RFC 6890, IANA's special-purpose registry), and in none of `inside`, our own networks. Networks for
/// documentation count as public: nothing of ours is there.
/// @param address  in host byte order
bool is_public_address(std::uint32_t address, std::span<const Ipv4Subnet> inside);

/// The same; an IPv4 address in it (mapped, compatible, NAT64 of RFC 6052, 6to4) is looked at as such.
bool is_public_address(const std::array<std::uint8_t, 16>& address, std::span<const Ipv4Subnet> inside);

}  // namespace nanobox
