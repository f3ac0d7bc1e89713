#pragma once

#include "config/settings.hpp"
#include "tools/nanoboxd/role.hpp"

namespace nanobox {

/// Runs the daemon in its role until SIGTERM or SIGINT. @returns its exit code @errors what kept it from starting
Result<int> serve(LoadedSettings loaded, const RoleOptions& options);

}  // namespace nanobox
