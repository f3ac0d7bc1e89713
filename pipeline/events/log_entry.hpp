#pragma once

#include <string>

#include "config/log.hpp"
#include "pipeline/events/event.hpp"
#include "pipeline/run.hpp"

namespace nanobox {

/// What the log says of something that happened.
struct LogEntry {
  LogComponent component = LogComponent::events;
  LogLevel level = LogLevel::info;
  std::string message;
  // Fields of the line; what is empty is left out.
  std::string sandbox = {};
  std::string template_name = {};
  std::string node = {};
  std::string run = {};
  std::string owner = {};
  std::string code = {};
  std::string cause = {};      ///< of a sandbox' end
  std::string boot_path = {};  ///< of a sandbox that runs
  std::string boot_time_ms = {};
  bool operator==(const LogEntry&) const = default;
};

/// Level info for what a life begins, ends or rests with, warn for what failed, got lost or died, debug for what
/// is on the way.
LogEntry log_entry(const NewEvent& event);

/// Of one that failed: the stage, its attempts, and the errors that led to it, the first cause last.
LogEntry failed_run_entry(const RunRecord& run);

void write_log(const LogEntry& entry);

}  // namespace nanobox
