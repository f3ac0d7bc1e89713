#pragma once

#include <string_view>

namespace nanobox {

/// The kinds of record in the control store.
inline constexpr std::string_view kTemplateKind = "template";
inline constexpr std::string_view kSandboxKind = "sandbox";
inline constexpr std::string_view kKeptStateKind = "kept_state";

}  // namespace nanobox
