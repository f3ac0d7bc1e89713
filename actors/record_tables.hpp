#pragma once

#include <string_view>

namespace nanobox {

/// The kinds of record in the control store.
inline constexpr std::string_view kTemplateKind = "template";
inline constexpr std::string_view kSandboxKind = "sandbox";
inline constexpr std::string_view kKeptStateKind = "kept_state";
inline constexpr std::string_view kDeathKind = "death";  ///< of a sandbox that was on this node
/// Of a cluster: of one whose own node may not be heard again, or never had a word on it.
inline constexpr std::string_view kPlacedDeathKind = "placed_death";

}  // namespace nanobox
