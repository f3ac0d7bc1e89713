#pragma once

#include <string_view>
#include <vector>

#include "tools/nanobox/command.hpp"

namespace nanobox::cli {

/// A program of commands: `NAME COMMAND [options]`.
struct Program {
  std::string_view name;
  std::string_view version;
  std::string_view lesson;  ///< what it is for, with an example
  std::vector<CommandSpec> commands;
};

/// Runs the command that the command line names, with `--help`, `help COMMAND` and `--version`.
/// @returns the exit code; 2 where the command line is wrong
int program_main(const Program& program, int argc, char** argv);

}  // namespace nanobox::cli
