#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace nanobox {

/// What the kernel knows our things by. All derive from the bridge's name, so that two nanoboxd with different bridges
/// do not disturb each other.
struct NetworkNames {
  std::string bridge;
  std::string table;        ///< nftables: "nanobox" for the default bridge, else "nanobox-<bridge>"
  std::string link_prefix;  ///< of the host's ends of veths: "nb", six digits, "-"
  std::string overlay;      ///< of the VXLAN device that reaches other nodes: "nv", six digits
  std::string alias;        ///< of every link of ours, for people
  std::uint32_t group = 0;  ///< of every link of ours: set by the message that makes it, so the mark is never late
};

NetworkNames network_names(const std::string& bridge);

/// Whether a link is a host's end of ours. @param kind  as the kernel names it: "veth"
bool is_vm_link(const NetworkNames& names, std::string_view link, std::string_view kind, std::uint32_t group);

/// Whether a link is our way to other nodes.
bool is_overlay_link(const NetworkNames& names, std::string_view link, std::string_view kind, std::uint32_t group);

/// A new name for a host's end; any 24 bits make one.
std::string vm_link_name(const NetworkNames& names, std::uint32_t number);

/// The same in every VM, so that a guest wakes up in any of them.
namespace vm_side {
inline constexpr std::string_view tap = "tap0";
inline constexpr std::string_view out = "out0";        ///< the namespace's end of the veth
inline constexpr std::uint32_t guest = 0xA9FE6402;     // 169.254.100.2
inline constexpr std::uint32_t gateway = 0xA9FE6401;   // 169.254.100.1
inline constexpr std::uint32_t out_end = 0xA9FE6502;   // 169.254.101.2, a neighbour's name only: no link has it
inline constexpr std::uint32_t host_end = 0xA9FE6501;  // 169.254.101.1, likewise
inline constexpr std::string_view guest_mac = "02:6e:62:00:00:01";
inline constexpr std::string_view tap_mac = "02:6e:62:00:00:02";
inline constexpr std::string_view out_mac = "02:6e:62:00:00:03";
inline constexpr std::string_view host_mac = "02:6e:62:00:00:04";
}  // namespace vm_side

}  // namespace nanobox
