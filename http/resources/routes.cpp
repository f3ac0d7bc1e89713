#include "http/resources/api.hpp"
#include "http/resources/deaths.hpp"
#include "http/resources/log_levels.hpp"
#include "http/resources/metrics.hpp"

namespace nanobox::http {

void add_routes(Router& router, Api& api) {
  add_template_routes(router, api);
  add_sandbox_routes(router, api);
  add_exec_route(router, api);
  add_process_routes(router, api);
  add_file_routes(router, api);
  add_port_routes(router, api);
  add_terminal_route(router, api);
  add_log_route(router, api);
  add_pipeline_routes(router, api);
  add_death_routes(router, api);
  add_actor_routes(router, api);
  add_node_routes(router, api);
  add_event_routes(router, api);
  add_audit_route(router, api);
  add_webhook_route(router, api);
  add_log_level_routes(router);
  add_metrics_route(router, api.metrics);
  add_health_routes(router, api);
  add_description_route(router, api);
}

}  // namespace nanobox::http
