#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "pipeline/events/event.hpp"

namespace nanobox {

/// Which events are wanted; what is not set lets all pass.
struct EventFilter {
  std::optional<std::string> owner = {};  ///< what only the administrator sees does not pass then
  std::vector<std::string> types = {};    ///< or prefixes that end in a dot
  std::optional<std::string> subject = {};
  std::optional<std::string> node_id = {};

  bool lets(const NewEvent& event) const;
};

/// "sandbox.,node.lost" as patterns. @errors invalid_value (field "?type"): a part that names no type of event
Result<std::vector<std::string>> parse_event_types(std::string_view text);

}  // namespace nanobox
