#include "pipeline/events/event_filter.hpp"

#include "config/event_types.hpp"

namespace nanobox {

bool EventFilter::lets(const NewEvent& event) const {
  return (!owner || *owner == event.owner) && (!subject || *subject == event.subject) &&
         (!node_id || *node_id == event.node_id) && names_event(types, event.type);
}

Result<std::vector<std::string>> parse_event_types(std::string_view text) {
  std::vector<std::string> patterns;
  for (;;) {
    const auto comma = text.find(',');
    const auto pattern = text.substr(0, comma);
    if (!is_event_pattern(pattern)) {
      const auto reason = "'" + std::string(pattern) + "' is no type of event";
      return fail({.code = ErrorCode::invalid_value,
                   .attempted = "read query",
                   .subject = "type",
                   .reason = reason,
                   .mend = "use types such as sandbox.failed, or prefixes such as node.",
                   .fields = {{"?type", reason}}});
    }
    patterns.emplace_back(pattern);
    if (comma == std::string_view::npos) return patterns;
    text.remove_prefix(comma + 1);
  }
}

}  // namespace nanobox
