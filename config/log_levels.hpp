#pragma once

#include <map>

#include "config/log.hpp"

namespace nanobox {

/// How much is logged: one level for all components, and those that have another one.
struct LogLevels {
  LogLevel level = LogLevel::info;
  std::map<LogComponent, LogLevel> own = {};  ///< of components whose level is another
  bool operator==(const LogLevels&) const = default;
};

/// What is in force; any thread.
LogLevels log_levels();
void set_log_levels(const LogLevels& levels);

}  // namespace nanobox
