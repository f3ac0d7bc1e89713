#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace nanobox::http {

/// One server-sent event: `event:`, `data:` (a line each), `id:` where there is one. Line breaks in `event` and `id`
/// are dropped.
std::string server_sent_event(std::string_view event, std::string_view data, std::string_view id = {});

/// A comment line, which clients skip: keeps proxies from cutting a quiet stream.
std::string server_sent_comment(std::string_view text = {});

inline constexpr std::string_view event_stream_type = "text/event-stream";

}  // namespace nanobox::http
