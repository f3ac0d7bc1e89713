#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "config/ipv4_subnet.hpp"
#include "pipeline/boot/network/names.hpp"
#include "pipeline/boot/network/nft_batch.hpp"
#include "pipeline/boot/network/policy.hpp"

namespace nanobox {

/// What the host's table holds of one sandbox.
struct HostAttachment {
  std::string link;  ///< the host's end of its veth
  std::uint32_t address = 0;
  NetworkMode mode = NetworkMode::isolated;
  std::uint32_t group = 0;  ///< `internal` only, else 0
  bool operator==(const HostAttachment&) const = default;
};

/// The host's table: constant rules, and sets and maps that hold a few elements for each sandbox.
namespace host_ruleset {

NftTable table(const NetworkNames& names);

/// nft commands that replace the table, in one transaction, by one that holds these sandboxes.
/// @param uplink  the link to the internet; empty: `internet` reaches nothing
std::string text(const NetworkNames& names, const Ipv4Subnet& subnet, const std::string& uplink,
                 std::span<const HostAttachment> attachments);
/// nft commands that remove the table, whether it is there or not.
std::string removal(const NetworkNames& names);

/// A sandbox's elements, sorted by set.
std::vector<NftElement> elements(const HostAttachment& attachment, const Ipv4Subnet& subnet);
/// Changes one sandbox's elements; a missing side means that there are none.
NftBatch change(const NetworkNames& names, const Ipv4Subnet& subnet, const std::optional<HostAttachment>& before,
                const std::optional<HostAttachment>& after);

/// The number of the overlay's frames, the same on all nodes of a cluster and another beside another subnet.
std::uint32_t vni_of(const Ipv4Subnet& subnet);
/// A sandbox on another node that the group's here may talk with.
NftElement remote(std::uint32_t group, std::uint32_t address);
/// A node whose frames are taken. @param underlay  the link that they come by
NftElement peer(std::string_view underlay, std::uint32_t address);

/// The sets that `read` needs, and the sandboxes that their elements tell of.
inline constexpr std::string_view verdict_map = "leaving";
inline constexpr std::string_view group_map = "groups";
std::vector<HostAttachment> read(std::span<const NftElement> verdicts, std::span<const NftElement> groups);

}  // namespace host_ruleset
}  // namespace nanobox
