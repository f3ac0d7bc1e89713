#pragma once

#include "tools/nanobox/command.hpp"

namespace nanobox::inspection {

cli::CommandSpec pipelines_command_spec();
cli::CommandSpec runs_command_spec();
cli::CommandSpec run_command_spec();
cli::CommandSpec top_command_spec();
cli::CommandSpec trace_command_spec();
cli::CommandSpec hotspots_command_spec();
cli::CommandSpec actors_command_spec();
cli::CommandSpec diff_command_spec();

/// How every command ends.
inline constexpr int kFine = 0, kFailed = 1, kSlower = 3;

}  // namespace nanobox::inspection
