#pragma once

#include "http/router.hpp"

namespace nanobox::http {

/// GET and PUT /log: how much this server logs, until its next start.
void add_log_level_routes(Router& router);

}  // namespace nanobox::http
