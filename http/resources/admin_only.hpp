#pragma once

#include <string>

#include "http/request.hpp"
#include "http/responder.hpp"

namespace nanobox::http {

/// Answers 403 where it is not the administrator who asks.
inline bool admin_only(const Request& request, Responder& responder, std::string attempted) {
  if (request.is_admin) return true;
  responder.send_problem({.code = ErrorCode::forbidden,
                          .attempted = std::move(attempted),
                          .subject = "",
                          .reason = "this is the administrator's",
                          .mend = "use the administrator's key"});
  return false;
}

}  // namespace nanobox::http
