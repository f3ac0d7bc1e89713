#include "http/resources/metrics.hpp"

#include "http/responder.hpp"
#include "pipeline/metrics/family.hpp"

namespace nanobox::http {

namespace {

/// The key that Prometheus may be given: of an owner that has nothing, and may read numbers of everybody's.
constexpr std::string_view kKeyName = "metrics";

}  // namespace

void add_metrics_route(Router& router, std::shared_ptr<const Metrics> metrics) {
  router.add(Method::get, "/metrics", [metrics](const Request& request, Responder responder) {
    if (!request.is_admin && request.owner != kKeyName)
      return responder.send_problem({.code = ErrorCode::forbidden,
                                     .attempted = "read metrics",
                                     .subject = "",
                                     .reason = "they are of all owners' sandboxes",
                                     .mend = "use the administrator's key, or one that is named 'metrics'"});
    if (!metrics)
      return responder.send_problem({.code = ErrorCode::route_not_found,
                                     .attempted = "read metrics",
                                     .subject = "/metrics",
                                     .reason = "nothing is measured here: [metrics] enabled is false",
                                     .mend = "set [metrics] enabled = true, and start the server again"});
    responder.send_bytes(200, "text/plain; version=0.0.4; charset=utf-8", metrics->text());
  });
}

ServedRequestSink counts_requests(std::shared_ptr<Metrics> metrics) {
  return [metrics = std::move(metrics)](const ServedRequest& request) {
    metrics->requests().take({.route = request.route,
                              .method = to_string(request.method),
                              .status = request.status,
                              .streamed = request.streamed,
                              .duration = request.duration});
  };
}

void add_server_families(Metrics& metrics, const Server& server) {
  metrics.add([&server] {
    const auto counts = server.counts();
    auto in_flight = gauge_family("nanobox_http_requests_in_flight", "Requests without a whole answer.");
    auto connections = gauge_family("nanobox_http_connections", "Open connections of clients.");
    add_value(in_flight, {}, static_cast<double>(counts.in_flight));
    add_value(connections, {}, static_cast<double>(counts.connections));
    return std::vector{std::move(in_flight), std::move(connections)};
  });
}

}  // namespace nanobox::http
