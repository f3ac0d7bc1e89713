#pragma once

#include "config/error.hpp"
#include "tools/nanobox/command.hpp"

namespace nanobox::cli {

/// `nanobox ps SANDBOX`: the commands started in it that are still known.
Result<int> list_processes(Session& session);

}  // namespace nanobox::cli
