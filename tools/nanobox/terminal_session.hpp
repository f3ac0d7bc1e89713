#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "config/error.hpp"
#include "tools/nanobox/interruption.hpp"
#include "tools/nanobox/sandbox_calls.hpp"
#include "tools/nanobox/transfer.hpp"

namespace nanobox::cli {

/// A terminal session to open in a sandbox.
struct TerminalCall {
  std::string sandbox_id;
  std::vector<std::string> command = {};  ///< empty: a shell
  Variables env = {};
  std::string cwd = {};
  std::string user = {};
  bool sends_stdin = true;  ///< our stdin is a terminal, and what is typed there goes inside
  std::function<void()> tick = {};
  std::chrono::milliseconds tick_every{0};
};

/// Joins our terminal with a new one inside until the command there ends, or the person leaves by `~.`. Our terminal is
/// in raw mode meanwhile and as it was afterwards, however this ends.
/// @returns the command's exit code
/// @errors invalid_value: stdin is no terminal · the server's · io_failed: the connection broke · cancelled: a signal
Result<int> run_terminal(const ServerAddress& server, Interruption& interruption, const TerminalCall& call);

/// The path, with its query, that opens it.
std::string terminal_path(const TerminalCall& call, unsigned columns, unsigned rows);

/// The exit code in a close reason: "exit 3". Nothing: it says none.
std::optional<int> exit_code_of(std::string_view close_reason);

}  // namespace nanobox::cli
