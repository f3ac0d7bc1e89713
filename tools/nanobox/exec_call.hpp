#pragma once

#include "config/error.hpp"
#include "tools/nanobox/command.hpp"
#include "tools/nanobox/sandbox_calls.hpp"

namespace nanobox::cli {

/// What `exec_options` say, for exec and run; the sandbox and the command are left open.
/// @errors invalid_value: options that exclude each other, or -it where stdin is no terminal
Result<ExecCall> read_exec_call(const Session& session);

/// Runs it in a terminal inside, joined with ours.
Result<int> exec_in_terminal(const ServerAddress& server, Interruption& interruption, const ExecCall& call);

}  // namespace nanobox::cli
