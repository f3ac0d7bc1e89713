#pragma once

#include <string>
#include <string_view>

#include "config/error.hpp"
#include "http/responder.hpp"

namespace nanobox::http {

struct HttpStatus {
  int code;
  std::string_view title;
};

/// The status of each way of failing. The only place where an Error becomes HTTP.
HttpStatus http_status(ErrorCode code);

/// The reason phrase of a status, e.g. "Not Found".
std::string_view reason_phrase(int status);

/// The problem as JSON (RFC 9457): type, title, status, code, detail, instance, request_id, errors[].
/// `instance` and `request_id` may be empty (left out): e.g. for the `error` of a failed run.
std::string problem_json(const Error& error, std::string_view instance = {}, std::string_view request_id = {});

/// The same with a status that the code does not have, as 426.
std::string problem_json(int status, const Error& error, std::string_view instance, std::string_view request_id);

/// What goes with it: Retry-After for 429 and 503, WWW-Authenticate for 401.
Headers problem_headers(const Error& error);

}  // namespace nanobox::http
