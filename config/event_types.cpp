#include "config/event_types.hpp"

#include <algorithm>
#include <array>

namespace nanobox {

namespace {

constexpr std::array<std::string_view, 24> kTypes = {
    "audit.failed",     "audit.resumed",   "capacity.refused", "node.draining",         "node.joined",
    "node.lost",        "node.ready",      "node.removed",     "node.unready",          "sandbox.creating",
    "sandbox.ended",    "sandbox.failed",  "sandbox.lost",     "sandbox.paused",        "sandbox.pausing",
    "sandbox.resuming", "sandbox.running", "sandbox.stopping", "supervision.restarted", "template.failed",
    "template.queued",  "template.ready",  "template.removed", "template.running"};

bool names(std::string_view pattern, std::string_view type) {
  return pattern.ends_with('.') ? type.starts_with(pattern) : type == pattern;
}

}  // namespace

std::span<const std::string_view> event_types() {
  return kTypes;
}

bool is_event_pattern(std::string_view pattern) {
  return std::ranges::any_of(kTypes, [&](std::string_view type) { return names(pattern, type); });
}

bool names_event(const std::vector<std::string>& patterns, std::string_view type) {
  return patterns.empty() ||
         std::ranges::any_of(patterns, [&](const std::string& pattern) { return names(pattern, type); });
}

std::optional<std::string> problem_with_hook_url(std::string_view url) {
  const auto scheme = url.find("://");
  if (!url.starts_with("http://") && !url.starts_with("https://")) return "must begin with http:// or https://";
  const auto rest = url.substr(scheme + 3);
  const auto host = rest.substr(0, rest.find_first_of("/?"));
  if (host.empty() || host.front() == ':') return "names no host";
  if (host.find('@') != std::string_view::npos) return "must hold no user name or password";
  if (std::ranges::any_of(url, [](unsigned char c) { return c <= 0x20 || c >= 0x7f || c == '#'; }))
    return "must hold no spaces, no fragment and nothing beyond ASCII";
  return std::nullopt;
}

}  // namespace nanobox
