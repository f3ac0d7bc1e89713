#pragma once

#include "http/served_request.hpp"

namespace nanobox::http {

/// A line of component http for every request: at level debug; at warn where the server failed (5xx, but for 503, which
/// is want of capacity).
ServedRequestSink access_log();

}  // namespace nanobox::http
