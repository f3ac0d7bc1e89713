#include "pipeline/boot/network/names.hpp"

#include <cstdio>

namespace nanobox {
namespace {

std::uint32_t fnv1a(std::string_view text) {
  std::uint32_t hash = 2166136261U;
  for (const unsigned char byte : text) hash = (hash ^ byte) * 16777619U;
  return hash;
}

std::string six_digits(std::uint32_t number) {
  char text[7];
  std::snprintf(text, sizeof text, "%06x", number & 0xffffffU);
  return text;
}

}  // namespace

NetworkNames network_names(const std::string& bridge) {
  const auto hash = fnv1a(bridge);
  return {.bridge = bridge,
          .table = bridge == "nanobox-br0" ? "nanobox" : "nanobox-" + bridge,
          .link_prefix = "nb" + six_digits(hash ^ hash >> 24) + "-",
          .overlay = "nv" + six_digits(hash ^ hash >> 24),
          .alias = "nanobox " + bridge,
          .group = 0x6e620000U | (hash >> 8 & 0xffffU)};
}

bool is_vm_link(const NetworkNames& names, std::string_view link, std::string_view kind, std::uint32_t group) {
  return kind == "veth" && group == names.group && link.starts_with(names.link_prefix);
}

bool is_overlay_link(const NetworkNames& names, std::string_view link, std::string_view kind, std::uint32_t group) {
  return kind == "vxlan" && group == names.group && link == names.overlay;
}

std::string vm_link_name(const NetworkNames& names, std::uint32_t number) {
  return names.link_prefix + six_digits(number);
}

}  // namespace nanobox
