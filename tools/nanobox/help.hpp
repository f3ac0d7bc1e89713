#pragma once

#include <string>

#include "tools/nanobox/program.hpp"

namespace nanobox::cli {

/// What `PROGRAM --help` says.
std::string program_help(const Program& program);

/// What `PROGRAM COMMAND --help` says: usage, what it does with examples, its options.
std::string command_help(const Program& program, const CommandSpec& command);

}  // namespace nanobox::cli
