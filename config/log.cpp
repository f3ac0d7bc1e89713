#include "config/log.hpp"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/ansicolor_sink.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>

#include "config/clock.hpp"
#include "config/log_levels.hpp"
#include "config/utf8.hpp"

namespace nanobox {
namespace {

constexpr std::string_view kComponents[kLogComponents] = {"daemon", "http",    "warmup", "sandbox", "vm",
                                                          "pool",   "network", "node",   "cluster", "events"};
constexpr std::string_view kLevels[] = {"trace", "debug", "info", "warn", "error", "off"};

/// Asked on every line, by any thread, from before set_up_log on.
struct LevelTable {
  std::atomic<LogLevel> level{LogLevel::info};  ///< what was last set for all
  std::array<std::atomic<LogLevel>, kLogComponents> levels;
  LevelTable() { set(LogLevel::info); }
  void set(LogLevel all) {
    level = all;
    for (auto& each : levels) each = all;
  }
};

LevelTable& level_table() {
  static LevelTable table;
  return table;
}

std::atomic<LogLevel>& level_of(LogComponent component) {
  return level_table().levels[static_cast<std::size_t>(component)];
}

bool is_control(unsigned char byte) {
  return byte < 0x20 || byte == 0x7f;
}

/// C1 control characters (U+0080 to U+009F), which terminals obey, and the line ends that only Unicode knows.
bool is_control(std::string_view sequence) {
  if (sequence.size() == 2) return sequence[0] == '\xc2' && static_cast<unsigned char>(sequence[1]) < 0xa0;
  return sequence == "\xe2\x80\xa8" || sequence == "\xe2\x80\xa9";
}

/// What readers of a line, programs or terminals, must not see as it is.
template <class Escape>
void append_escaped(std::string& to, std::string_view text, std::string_view escaped, Escape escape) {
  while (!text.empty()) {
    const auto length = utf8_sequence_length(text);
    const auto sequence = text.substr(0, std::max<std::size_t>(length, 1));
    if (length == 0)
      to += "\xef\xbf\xbd";
    else if (length == 1 && (is_control(static_cast<unsigned char>(sequence[0])) ||
                             escaped.find(sequence[0]) != std::string_view::npos))
      escape(static_cast<unsigned char>(sequence[0]));
    else if (is_control(sequence))
      to += sequence.size() == 2 ? fmt::format("\\u{:04x}", static_cast<unsigned char>(sequence[1]))
                                 : std::string(sequence == "\xe2\x80\xa8" ? "\\u2028" : "\\u2029");
    else
      to += sequence;
    text.remove_prefix(sequence.size());
  }
}

void append_with_escapes(std::string& to, std::string_view text, std::string_view escaped) {
  append_escaped(to, text, escaped, [&](unsigned char byte) {
    switch (byte) {
      case '\n':
        to += "\\n";
        break;
      case '\r':
        to += "\\r";
        break;
      case '\t':
        to += "\\t";
        break;
      case '"':
        to += "\\\"";
        break;
      case '\\':
        to += "\\\\";
        break;
      default:
        to += fmt::format("\\u{:04x}", byte);
    }
  });
}

void append_json(std::string& to, std::string_view text) {
  to += '"';
  append_with_escapes(to, text, "\"\\");
  to += '"';
}

/// A value with anything that could be taken for the next field is quoted.
void append_value(std::string& to, std::string_view value) {
  const bool plain = !value.empty() && value.find_first_of(" =\"\\") == std::string_view::npos;
  if (plain)
    append_with_escapes(to, value, "");
  else
    append_json(to, value);
}

const char* colour_of(LogLevel level) {
  switch (level) {
    case LogLevel::error:
      return "\033[31m";
    case LogLevel::warn:
      return "\033[33m";
    case LogLevel::info:
      return "\033[32m";
    default:
      return "\033[36m";
  }
}

spdlog::logger& logger() {
  static const auto log = [] {
    auto made =
        std::make_shared<spdlog::logger>("nanobox", std::make_shared<spdlog::sinks::ansicolor_stderr_sink_mt>());
    made->set_formatter(std::make_unique<spdlog::pattern_formatter>("%v"));
    made->set_level(spdlog::level::trace);
    made->flush_on(spdlog::level::trace);
    return made;
  }();
  return *log;
}

struct LogForm {
  std::atomic<LogFormat> format{LogFormat::text};
  std::atomic<bool> coloured{false};
};

LogForm& form() {
  static LogForm chosen;
  return chosen;
}

spdlog::level::level_enum to_spdlog(LogLevel level) {
  return static_cast<spdlog::level::level_enum>(level == LogLevel::off ? SPDLOG_LEVEL_OFF : static_cast<int>(level));
}

template <std::size_t Count>
std::optional<std::size_t> index_in(const std::string_view (&names)[Count], std::string_view name) {
  for (std::size_t i = 0; i < Count; ++i)
    if (names[i] == name) return i;
  return std::nullopt;
}

}  // namespace

std::string_view to_string(LogComponent component) {
  return kComponents[static_cast<std::size_t>(component)];
}

std::optional<LogComponent> log_component_named(std::string_view name) {
  const auto index = index_in(kComponents, name);
  return index ? std::optional(static_cast<LogComponent>(*index)) : std::nullopt;
}

std::string_view to_string(LogLevel level) {
  return kLevels[static_cast<std::size_t>(level)];
}

std::optional<LogLevel> log_level_named(std::string_view name) {
  const auto index = index_in(kLevels, name);
  return index ? std::optional(static_cast<LogLevel>(*index)) : std::nullopt;
}

std::string json_log_line(const LogLine& line) {
  std::string out = "{\"time\":\"" + to_rfc3339(line.time) + "\",\"level\":\"";
  out += to_string(line.level);
  out += "\",\"component\":\"";
  out += to_string(line.component);
  out += "\",\"message\":";
  append_json(out, line.message);
  for (const auto& [name, value] : line.fields) {
    if (value.empty()) continue;
    out += ',';
    append_json(out, name);
    out += ':';
    append_json(out, value);
  }
  return out + "}";
}

std::string text_log_line(const LogLine& line, bool coloured) {
  auto out = to_rfc3339(line.time);
  out[out.find('T')] = ' ';
  out.back() = ' ';
  out += coloured ? fmt::format("{}{:<5}\033[0m", colour_of(line.level), to_string(line.level))
                  : fmt::format("{:<5}", to_string(line.level));
  out += fmt::format(" {:<9}", fmt::format("{}:", to_string(line.component)));
  append_with_escapes(out, line.message, "");
  for (const auto& [name, value] : line.fields) {
    if (value.empty()) continue;
    out += ' ';
    out += name;
    out += '=';
    append_value(out, value);
  }
  return out;
}

void set_up_log(LogFormat format, LogLevel level) {
  form().format = format;
  form().coloured = ::isatty(STDERR_FILENO) == 1;
  set_log_level(level);
}

Result<std::vector<std::pair<LogComponent, LogLevel>>> parse_log_levels(const std::vector<std::string>& levels) {
  std::vector<std::pair<LogComponent, LogLevel>> parsed;
  for (const std::string_view text : levels) {
    const auto equals = std::min(text.find('='), text.size());
    const auto component = log_component_named(text.substr(0, equals));
    const auto level = log_level_named(text.substr(std::min(equals + 1, text.size())));
    if (!component || !level)
      return fail({.code = ErrorCode::config_invalid,
                   .attempted = "set the log's levels",
                   .subject = std::string(text),
                   .reason = component ? "there is no such level" : "there is no such component",
                   .mend = fmt::format("write component=level: {}; {}", fmt::join(kComponents, ", "),
                                       fmt::join(kLevels, ", "))});
    parsed.emplace_back(*component, *level);
  }
  return parsed;
}

void set_log_level(LogLevel level) {
  level_table().set(level);
}

void set_log_level(LogComponent component, LogLevel level) {
  level_of(component) = level;
}

LogLevel log_level(LogComponent component) {
  return level_of(component);
}

LogLevels log_levels() {
  LogLevels now{.level = level_table().level};
  for (std::size_t i = 0; i < kLogComponents; ++i)
    if (const auto component = static_cast<LogComponent>(i); log_level(component) != now.level)
      now.own.emplace(component, log_level(component));
  return now;
}

void set_log_levels(const LogLevels& levels) {
  // Each at once to what it shall be: no line gets lost on the way.
  level_table().level = levels.level;
  for (std::size_t i = 0; i < kLogComponents; ++i) {
    const auto component = static_cast<LogComponent>(i);
    const auto own = levels.own.find(component);
    set_log_level(component, own == levels.own.end() ? levels.level : own->second);
  }
}

bool logs(LogComponent component, LogLevel level) {
  return level >= level_of(component) && level != LogLevel::off;
}

void write_log(LogComponent component, LogLevel level, LogFields fields, std::string_view message) {
  const LogLine line{.time = wall_now(), .level = level, .component = component, .message = message, .fields = fields};
  logger().log(to_spdlog(level),
               form().format == LogFormat::json ? json_log_line(line) : text_log_line(line, form().coloured));
}

}  // namespace nanobox
