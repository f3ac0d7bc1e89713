#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "pipeline/boot/channel/events.hpp"
#include "pipeline/boot/channel/requests.hpp"
#include "pipeline/boot/output_spool.hpp"

namespace nanobox {

/// A command to run in a sandbox (api.md, exec).
struct ExecCommand {
  ExecRequest request = {};
  std::optional<std::string> stdin_bytes = {};  ///< all of its stdin; nothing: none yet
  std::uint64_t max_output_bytes = 16U << 20;   ///< kept of each of stdout and stderr, where they are kept
};

/// How a command ended.
struct CommandEnd {
  std::int32_t exit_code = 0;  ///< as a shell says it: 128 + the signal
  std::int32_t signal = 0;     ///< 0: none
  bool timed_out = false;
};

inline CommandEnd command_end(std::uint32_t exit_code, std::uint32_t signal, bool timed_out) {
  return {.exit_code = static_cast<std::int32_t>(signal != 0 ? 128 + signal : exit_code),
          .signal = static_cast<std::int32_t>(signal),
          .timed_out = timed_out};
}

/// What became of a command whose output was kept.
struct ExecOutcome {
  CommandEnd end;
  std::shared_ptr<OutputSpool> stdout_spool;
  std::shared_ptr<OutputSpool> stderr_spool;
  std::int64_t duration_ms = 0;
};

}  // namespace nanobox
