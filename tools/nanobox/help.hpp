#pragma once

#include <string>
#include <vector>

#include "tools/nanobox/command.hpp"

namespace nanobox::cli {

/// What `nanobox --help` says.
std::string program_help(const std::vector<CommandSpec>& commands);

/// What `nanobox COMMAND --help` says: usage, what it does with examples, its options.
std::string command_help(const CommandSpec& command);

}  // namespace nanobox::cli
