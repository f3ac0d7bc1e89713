#pragma once

#include "http/request.hpp"

namespace nanobox::http {

/// Whether a request comes from no web page, or from one of this very host and port: its Origin (RFC 6454) is absent or
/// names what Host names.
bool is_same_origin(const Request& request);

}  // namespace nanobox::http
