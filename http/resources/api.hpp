#pragma once

#include <atomic>
#include <caf/actor_system.hpp>
#include <filesystem>
#include <memory>
#include <stop_token>

#include "actors/node.hpp"
#include "http/idempotency.hpp"
#include "http/router.hpp"

namespace nanobox::http {

/// What the resources stand on. Outlives the server.
struct Api {
  caf::actor_system& system;
  Node node;
  std::shared_ptr<Idempotency> idempotency;
  std::string default_network_mode = "isolated";
  std::filesystem::path embedded_images;  ///< OCI layouts that come with the program, by name; empty: none
  WallTime started_at = wall_now();
  std::atomic<bool> ready{true};
  std::stop_source stopping = {};  ///< requested when the server begins to stop: endless streams end then

  const Boards& boards() const { return *node.services->boards; }
  Boards& boards() { return *node.services->boards; }
};

/// Each adds the routes of one resource (api.md). `api` must outlive the router.
void add_template_routes(Router& router, Api& api);
void add_sandbox_routes(Router& router, Api& api);
void add_exec_route(Router& router, Api& api);
void add_process_routes(Router& router, Api& api);
void add_file_routes(Router& router, Api& api);
void add_port_routes(Router& router, Api& api);
void add_terminal_route(Router& router, Api& api);
void add_log_route(Router& router, Api& api);
void add_pipeline_routes(Router& router, Api& api);
void add_node_routes(Router& router, Api& api);
void add_health_routes(Router& router, Api& api);

}  // namespace nanobox::http
