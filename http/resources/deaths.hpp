#pragma once

#include "http/resources/api.hpp"

namespace nanobox::http {

/// Why sandboxes ended: GET /sandboxes/{id}/death, GET /deaths. `api` must outlive the router.
void add_death_routes(Router& router, Api& api);

/// Why there is no such sandbox for the requester; of one that has ended it says so.
Error sandbox_not_there(const Api& api, const Request& request);

}  // namespace nanobox::http
