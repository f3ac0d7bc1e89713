#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace nanobox {

/// What a certificate lets its holder be.
enum class NodeRole : std::uint8_t { node, control };

/// "node" or "control", as in the OU of a certificate.
constexpr std::string_view to_string(NodeRole role) {
  return role == NodeRole::control ? "control" : "node";
}

/// Who is at the other end, as the cluster's CA says.
struct PeerIdentity {
  std::string node_id;
  NodeRole role = NodeRole::node;
  bool operator==(const PeerIdentity&) const = default;
};

/// What a CN can hold.
inline constexpr std::size_t longest_node_id = 64;

/// Whether `text` can name a node: 1 to 64 letters, digits, '-', '_' and '.', the first a letter or digit.
constexpr bool is_node_id(std::string_view text) {
  const auto is_alnum = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  };
  if (text.empty() || text.size() > longest_node_id || !is_alnum(text.front())) return false;
  for (const char c : text)
    if (!is_alnum(c) && c != '-' && c != '_' && c != '.') return false;
  return true;
}

}  // namespace nanobox
