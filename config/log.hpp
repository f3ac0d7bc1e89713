#pragma once

#include <spdlog/fmt/fmt.h>

#include <array>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/clock.hpp"
#include "config/error.hpp"

namespace nanobox {

/// Where a line comes from; each has a level of its own.
enum class LogComponent : std::uint8_t {
  daemon,   ///< start, stop, settings
  http,     ///< the REST port: connections, requests
  warmup,   ///< images and templates
  sandbox,  ///< life cycles of sandboxes
  vm,       ///< VMMs, guests, their channels
  pool,     ///< warm pools and waiting VMMs
  network,  ///< interfaces, addresses, rules, resolver
  node,     ///< supervision, the node's link with its control plane
  cluster,  ///< the control plane's view of nodes, placement, what travels between them
  events,   ///< events, audit, webhooks
};
inline constexpr std::size_t kLogComponents = 10;
std::string_view to_string(LogComponent component);
std::optional<LogComponent> log_component_named(std::string_view name);

enum class LogLevel : std::uint8_t { trace, debug, info, warn, error, off };
std::string_view to_string(LogLevel level);
std::optional<LogLevel> log_level_named(std::string_view name);

/// What a line is about, as fields of its own: {"sandbox", id}, {"run", id}, {"request", id}, {"template", name},
/// {"node", id}, {"code", …}.
using LogField = std::pair<std::string_view, std::string_view>;
using LogFields = std::initializer_list<LogField>;

enum class LogFormat : std::uint8_t { text, json };

struct LogLine {
  WallTime time;
  LogLevel level = LogLevel::info;
  LogComponent component = LogComponent::daemon;
  std::string_view message;
  LogFields fields;  ///< those with an empty value are left out
};

/// {"time","level","component","message",fields…} without a line's end: invalid UTF-8 becomes U+FFFD.
std::string json_log_line(const LogLine& line);

/// "2026-11-27 22:10:11.123 info  sandbox: message sandbox=sb-… run=op-…", UTC; always one line: control characters are
/// escaped.
std::string text_log_line(const LogLine& line, bool coloured);

/// Lines go to stderr in that form from now on. Once, before the first thread.
void set_up_log(LogFormat format, LogLevel level);

/// @param levels  "component=level". @errors config_invalid: there is no such component or level
Result<std::vector<std::pair<LogComponent, LogLevel>>> parse_log_levels(const std::vector<std::string>& levels);

/// At run time, for all components or one; any thread.
void set_log_level(LogLevel level);
void set_log_level(LogComponent component, LogLevel level);
LogLevel log_level(LogComponent component);

bool logs(LogComponent component, LogLevel level);
/// One line; `fields` whose value is empty are left out.
void write_log(LogComponent component, LogLevel level, LogFields fields, std::string_view message);

/// Logs where the component's level lets it: log_info(LogComponent::vm, {{"sandbox", id}}, "{} pages saved", count).
template <class... Args>
void log_line(LogComponent component, LogLevel level, LogFields fields, fmt::format_string<Args...> format,
              Args&&... args) {
  if (logs(component, level)) write_log(component, level, fields, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void log_debug(LogComponent component, LogFields fields, fmt::format_string<Args...> format, Args&&... args) {
  log_line(component, LogLevel::debug, fields, format, std::forward<Args>(args)...);
}
template <class... Args>
void log_info(LogComponent component, LogFields fields, fmt::format_string<Args...> format, Args&&... args) {
  log_line(component, LogLevel::info, fields, format, std::forward<Args>(args)...);
}
template <class... Args>
void log_warn(LogComponent component, LogFields fields, fmt::format_string<Args...> format, Args&&... args) {
  log_line(component, LogLevel::warn, fields, format, std::forward<Args>(args)...);
}
template <class... Args>
void log_error(LogComponent component, LogFields fields, fmt::format_string<Args...> format, Args&&... args) {
  log_line(component, LogLevel::error, fields, format, std::forward<Args>(args)...);
}

}  // namespace nanobox
