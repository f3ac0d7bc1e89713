#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace nanobox {

/// Every type of event there is, sorted.
std::span<const std::string_view> event_types();

/// Whether `pattern`, a type ("sandbox.failed") or a prefix that ends in a dot ("node."), names at least one type.
bool is_event_pattern(std::string_view pattern);

/// Whether one of `patterns` names `type`; no patterns name all.
bool names_event(const std::vector<std::string>& patterns, std::string_view type);

/// What is wrong with the address of a webhook: nothing where it is http:// or https:// with a host, without a user
/// name, spaces or a fragment.
std::optional<std::string> problem_with_hook_url(std::string_view url);

}  // namespace nanobox
