#pragma once

#include <rapidjson/document.h>

#include <optional>
#include <string>

#include "config/error.hpp"
#include "tools/nanobox/event_stream.hpp"
#include "tools/nanobox/interruption.hpp"

namespace nanobox::cli {

/// What a process' events (`started stdout stderr gap exit error`, also `console init` of logs) say: output goes to
/// the right one of our streams, byte by byte, at the speed of whoever reads it.
class ProcessOutput {
public:
  /// @param interruption  borrowed; ends the waiting for a reader of ours
  explicit ProcessOutput(Interruption& interruption) : interruption_(interruption) {}

  /// @returns false: the process has ended, or our reader went away; see `exit_code`
  /// @errors what an `error` event says · io_failed: not understood · cancelled
  Result<bool> take(const ServerEvent& event);

  const std::string& process_id() const { return process_id_; }
  /// The id of the last event that had one: where to go on.
  const std::string& last_id() const { return last_id_; }
  /// Once it has ended: its exit code, `kTimedOut` where its deadline ended it, 141 where our reader went away.
  std::optional<int> exit_code() const { return exit_code_; }

private:
  Result<bool> write(int fd, const std::string& bytes);
  Interruption& interruption_;
  std::string process_id_;
  std::string last_id_;
  std::optional<int> exit_code_;
};

/// The `data` of an object, decoded as its `encoding` says; `name` instead of `data` for the fields of a buffered
/// answer. @errors io_failed: no valid base64
Result<std::string> output_bytes(const rapidjson::Value& object, const std::string& name = "data");

}  // namespace nanobox::cli
