#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "pipeline/boot/network/dns/name_pattern.hpp"

namespace nanobox {

/// The sandbox that asks, as far as it decides what it may be answered.
struct DnsClient {
  enum class Mode : std::uint8_t { isolated, internal, internet };

  std::string id;
  Mode mode = Mode::isolated;
  std::string group;  ///< one of one owner: equal names of two owners must differ here
  std::vector<NamePattern> allow_domains;
  /// The sandbox has an allow list, of domains or of networks: only names that `allow_domains` matches are asked for.
  bool narrowed = false;
};

/// A sandbox that others may ask for by name.
struct NamedSandbox {
  std::uint32_t address = 0;  ///< host byte order
  std::string group;
};

/// An address that a client may connect to since a name it may use has it.
struct AllowedAddress {
  std::uint32_t address = 0;  ///< host byte order
  std::chrono::seconds ttl{};
  bool operator==(const AllowedAddress&) const = default;
};

}  // namespace nanobox
