#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "config/ipv4_subnet.hpp"

namespace nanobox {

/// Another node whose sandboxes are reached over the overlay.
struct OverlayPeer {
  std::uint32_t address = 0;      ///< of its overlay interface
  std::vector<Ipv4Subnet> parts;  ///< of the cluster's subnet: where its sandboxes' addresses are from
  bool operator==(const OverlayPeer&) const = default;
};

/// A sandbox of mode `internal` on another node.
struct RemoteMember {
  std::string id;
  std::uint32_t address = 0;
  bool operator==(const RemoteMember&) const = default;
};

struct RemoteGroup {
  std::string name;                   ///< as SandboxRules::group
  std::vector<RemoteMember> members;  ///< all that are on other nodes; none: the group is nobody's here any more
  bool operator==(const RemoteGroup&) const = default;
};

/// What a node is told of the networks of the others.
struct RemoteNetworks {
  bool whole = false;               ///< groups that it does not name have nobody elsewhere
  std::vector<OverlayPeer> peers;   ///< always all
  std::vector<RemoteGroup> groups;  ///< those that changed
  bool operator==(const RemoteNetworks&) const = default;
};

}  // namespace nanobox
