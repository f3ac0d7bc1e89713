#pragma once

#include <memory>

#include "http/router.hpp"
#include "http/server.hpp"
#include "pipeline/metrics/metrics.hpp"

namespace nanobox::http {

/// GET /metrics. @param metrics  null: nothing is measured here
void add_metrics_route(Router& router, std::shared_ptr<const Metrics> metrics);

/// Counts the requests that a server tells of.
ServedRequestSink counts_requests(std::shared_ptr<Metrics> metrics);

/// What the server has on its hands now. @param server  outlives the metrics' last text
void add_server_families(Metrics& metrics, const Server& server);

}  // namespace nanobox::http
