#include "pipeline/metrics/request_metrics.hpp"

namespace nanobox {

namespace {

constexpr std::string_view kExecRoute = "/api/v1/sandboxes/{id}/exec";

}  // namespace

RequestMetrics::RequestMetrics(prometheus::Registry& registry)
    : requests_(
          registry, "nanobox_http_requests_total",
          "Requests to the REST API, by the route's pattern (none: no such route) and the answer's status (0: the "
          "client went before).",
          {"route", "method", "status"}),
      durations_(registry, "nanobox_http_request_duration_seconds",
                 "From a request's whole head to its whole answer, streams left out.", {"route", "method"}),
      exec_durations_(registry, "nanobox_exec_duration_seconds",
                      "How long it took to run a command and answer with its output, the command's own time included.",
                      {}) {
  exec_durations_({});
}

void RequestMetrics::take(const CountedRequest& request) {
  const auto route = request.route.empty() ? std::string_view("none") : request.route;
  const auto status = std::to_string(request.status);
  const auto seconds = std::chrono::duration<double>(request.duration).count();
  const std::lock_guard lock(mutex_);
  requests_({route, request.method, status}).Increment();
  if (request.streamed) return;
  durations_({route, request.method}).Observe(seconds);
  if (request.status == 200 && request.route == kExecRoute) exec_durations_({}).Observe(seconds);
}

}  // namespace nanobox
