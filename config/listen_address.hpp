#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "config/error.hpp"

namespace nanobox {

/// A host (name, IPv4 or IPv6 address, without brackets) and a port. Port 0: the kernel picks one.
struct ListenAddress {
  std::string host;
  std::uint16_t port = 0;
  bool operator==(const ListenAddress&) const = default;
};

/// Reads "127.0.0.1:8080", "[::1]:8080", "node-3.local:7000"; ":8080" is every IPv4 address.
/// @errors config_invalid, with the accepted forms as the mend
Result<ListenAddress> parse_listen_address(std::string_view text);

/// The inverse, with brackets around IPv6 addresses.
std::string to_string(const ListenAddress& address);

/// Whether only this host can reach it: 127.0.0.0/8, ::1 or "localhost".
bool is_loopback(const ListenAddress& address);

}  // namespace nanobox
