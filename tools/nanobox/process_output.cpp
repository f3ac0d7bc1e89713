#include "tools/nanobox/process_output.hpp"

#include <unistd.h>

#include "tools/nanobox/api_client.hpp"
#include "tools/nanobox/command.hpp"
#include "tools/nanobox/json.hpp"
#include "tools/nanobox/output.hpp"

namespace nanobox::cli {
namespace {

/// As a shell shows a program that wrote to a pipe nobody reads: 128 + SIGPIPE.
constexpr int kReaderGone = 141;

Error not_understood(const ServerEvent& event) {
  return {.code = ErrorCode::io_failed,
          .attempted = "read output",
          .subject = event.type,
          .reason = "the server sent no valid event",
          .mend = ""};
}

}  // namespace

Result<std::string> output_bytes(const rapidjson::Value& object, const std::string& name) {
  auto text = json_text(object, name);
  const auto encoding = json_text(object, name == "data" ? "encoding" : name + "_encoding");
  if (encoding != "base64") return text;
  auto bytes = from_base64(text);
  if (bytes) return std::move(*bytes);
  return fail({.code = ErrorCode::io_failed,
               .attempted = "read output",
               .subject = name,
               .reason = "the server sent no valid base64",
               .mend = ""});
}

Result<bool> ProcessOutput::write(int fd, const std::string& bytes) {
  const bool read = NANOBOX_TRY(write_paced(fd, bytes, interruption_));
  if (!read) exit_code_ = kReaderGone;
  return read;
}

Result<bool> ProcessOutput::take(const ServerEvent& event) {
  rapidjson::Document data;
  data.Parse<rapidjson::kParseValidateEncodingFlag | rapidjson::kParseIterativeFlag>(event.data.data(),
                                                                                     event.data.size());
  if (data.HasParseError() || !data.IsObject()) return fail(not_understood(event));
  if (!event.id.empty()) last_id_ = event.id;
  if (event.type == "stdout" || event.type == "console" || event.type == "init")
    return write(STDOUT_FILENO, NANOBOX_TRY(output_bytes(data)));
  if (event.type == "stderr") return write(STDERR_FILENO, NANOBOX_TRY(output_bytes(data)));
  if (event.type == "started") process_id_ = json_text(data, "process_id");
  if (event.type == "gap")
    tell("nanobox: output before byte " + std::to_string(json_number(data, "offset")) + " is not kept any more");
  if (event.type == "error") return fail(error_of_problem(data));
  if (event.type != "exit") return true;
  exit_code_ = static_cast<int>(json_number(data, "exit_code", kOwnFailure));
  if (json_flag(data, "timed_out")) {
    tell("nanobox: the command was ended by its deadline");
    exit_code_ = kTimedOut;
  }
  return false;
}

}  // namespace nanobox::cli
