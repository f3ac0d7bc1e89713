#include "config/log.hpp"

#include <catch2/catch.hpp>
#include <string>

#include "config/log_levels.hpp"

using namespace nanobox;

namespace {

const WallTime kWhen = *from_rfc3339("2026-11-27T22:10:11.123Z");

LogLine line_of(std::string_view message, LogFields fields) {
  return {
      .time = kWhen, .level = LogLevel::info, .component = LogComponent::sandbox, .message = message, .fields = fields};
}

/// Levels as before, whatever a test sets.
struct LevelsKept {
  ~LevelsKept() { set_log_level(LogLevel::info); }
};

}  // namespace

TEST_CASE("a JSON line has the time, level, component, message and the fields") {
  CHECK(json_log_line(line_of("created", {{"sandbox", "sb-1"}, {"run", "op-1"}})) ==
        R"({"time":"2026-11-27T22:10:11.123Z","level":"info","component":"sandbox","message":"created",)"
        R"("sandbox":"sb-1","run":"op-1"})");
}

TEST_CASE("a text line has the fields behind the message") {
  CHECK(text_log_line(line_of("created", {{"sandbox", "sb-1"}, {"run", "op-1"}}), false) ==
        "2026-11-27 22:10:11.123 info  sandbox: created sandbox=sb-1 run=op-1");
}

TEST_CASE("a field without a value is left out") {
  CHECK(text_log_line(line_of("created", {{"sandbox", "sb-1"}, {"run", ""}}), false) ==
        "2026-11-27 22:10:11.123 info  sandbox: created sandbox=sb-1");
  CHECK(json_log_line(line_of("created", {{"run", ""}})).find("run") == std::string::npos);
}

TEST_CASE("a field's value that reads as more fields is quoted in a text line") {
  CHECK(text_log_line(line_of("x", {{"template", "a node=n2"}}), false) ==
        "2026-11-27 22:10:11.123 info  sandbox: x template=\"a node=n2\"");
  CHECK(text_log_line(line_of("x", {{"template", "a\"b"}}), false) ==
        "2026-11-27 22:10:11.123 info  sandbox: x template=\"a\\\"b\"");
}

TEST_CASE("only a coloured text line has a terminal's codes, around the level") {
  CHECK(text_log_line(line_of("x", {}), true) == "2026-11-27 22:10:11.123 \033[32minfo \033[0m sandbox: x");
  CHECK(text_log_line(line_of("x", {}), false).find('\033') == std::string::npos);
}

TEST_CASE("what a message says never becomes a second line, nor a terminal's codes") {
  const auto forged = "x\n2026-11-27 22:10:11.123 error daemon: forged\r\x1b[2J\x7f";
  CHECK(text_log_line(line_of(forged, {}), false) ==
        "2026-11-27 22:10:11.123 info  sandbox: x\\n2026-11-27 22:10:11.123 error daemon: forged\\r\\u001b[2J\\u007f");
  // U+0085, U+009B and U+2028 end lines or begin codes for some readers.
  CHECK(text_log_line(line_of("a\xc2\x85"
                              "b\xc2\x9b"
                              "c\xe2\x80\xa8"
                              "d",
                              {}),
                      false) == "2026-11-27 22:10:11.123 info  sandbox: a\\u0085b\\u009bc\\u2028d");
  CHECK(text_log_line(line_of("x", {{"code", "a\nb"}}), false) ==
        "2026-11-27 22:10:11.123 info  sandbox: x code=a\\nb");
}

TEST_CASE("a JSON line's strings are escaped") {
  const auto line = json_log_line(line_of("say \"hi\" \\ \t\n\x01", {{"code", "a\"b"}}));
  CHECK(line.find(R"("message":"say \"hi\" \\ \t\n\u0001","code":"a\"b"})") != std::string::npos);
  CHECK(line.find('\n') == std::string::npos);
}

TEST_CASE("bytes that are no UTF-8 become U+FFFD, valid ones stay") {
  const std::string wrong = "\xc3\xa4 \xff\xfe \xe2\x82";
  const std::string mended = "\xc3\xa4 \xef\xbf\xbd\xef\xbf\xbd \xef\xbf\xbd\xef\xbf\xbd";
  CHECK(json_log_line(line_of(wrong, {})).find("\"message\":\"" + mended + "\"") != std::string::npos);
  CHECK(text_log_line(line_of(wrong, {}), false) == "2026-11-27 22:10:11.123 info  sandbox: " + mended);
}

TEST_CASE("each component has a level of its own") {
  const LevelsKept kept;
  set_log_level(LogLevel::warn);
  set_log_level(LogComponent::http, LogLevel::debug);
  CHECK(logs(LogComponent::http, LogLevel::debug));
  CHECK_FALSE(logs(LogComponent::http, LogLevel::trace));
  CHECK_FALSE(logs(LogComponent::vm, LogLevel::info));
  CHECK(logs(LogComponent::vm, LogLevel::warn));
  set_log_level(LogComponent::vm, LogLevel::off);
  CHECK_FALSE(logs(LogComponent::vm, LogLevel::error));
  CHECK(log_level(LogComponent::http) == LogLevel::debug);
}

TEST_CASE("levels by component are read, what there is not is refused with what there is") {
  const auto levels = parse_log_levels({"http=debug", "vm=off"});
  REQUIRE(levels);
  CHECK(*levels == std::vector<std::pair<LogComponent, LogLevel>>{{LogComponent::http, LogLevel::debug},
                                                                  {LogComponent::vm, LogLevel::off}});
  for (const auto* wrong : {"htp=debug", "http=loud", "http", "=debug", "http="}) {
    const auto refused = parse_log_levels({wrong});
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == ErrorCode::config_invalid);
    CHECK(refused.error().subject == wrong);
    CHECK(refused.error().mend.find("cluster") != std::string::npos);
  }
}

TEST_CASE("every component and level has a name that is found again") {
  for (std::size_t i = 0; i < kLogComponents; ++i) {
    const auto component = static_cast<LogComponent>(i);
    CHECK(log_component_named(to_string(component)) == component);
  }
  for (const auto level :
       {LogLevel::trace, LogLevel::debug, LogLevel::info, LogLevel::warn, LogLevel::error, LogLevel::off})
    CHECK(log_level_named(to_string(level)) == level);
}

TEST_CASE("the levels in force are one for all and those that are others") {
  const LevelsKept kept;
  set_log_level(LogLevel::warn);
  set_log_level(LogComponent::http, LogLevel::debug);
  set_log_level(LogComponent::vm, LogLevel::warn);
  CHECK(log_levels() == LogLevels{.level = LogLevel::warn, .own = {{LogComponent::http, LogLevel::debug}}});
  const LogLevels wanted{.level = LogLevel::error, .own = {{LogComponent::pool, LogLevel::off}}};
  set_log_levels(wanted);
  CHECK(log_levels() == wanted);
  CHECK(log_level(LogComponent::http) == LogLevel::error);
}
