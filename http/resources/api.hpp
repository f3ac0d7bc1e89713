#pragma once

#include <atomic>
#include <caf/actor_system.hpp>
#include <filesystem>
#include <memory>
#include <stop_token>

#include "actors/cluster/control_plane.hpp"
#include "http/idempotency.hpp"
#include "http/router.hpp"

namespace nanobox {
class AuditTrail;
class WebhookQueue;
}  // namespace nanobox

namespace nanobox::http {

/// What a new node needs to join.
struct Invitation {
  std::string token;
  WallTime expires_at{};
  std::string join_addr;  ///< as the nodes reach it, as far as this server knows
};

/// What the resources stand on. Outlives the server.
struct Api {
  caf::actor_system& system;
  ControlPlane plane;
  ImageSourceSettings image_sources = {};  ///< what image names are checked against
  SpoolPlace spools = {};                  ///< of the outputs of commands
  SharedServices local = {};               ///< of the node in this process; null: it has none
  /// Makes a token with which a node joins, for so long; null: this server takes no nodes.
  std::function<Result<Invitation>(std::chrono::seconds)> invite = {};
  std::shared_ptr<Idempotency> idempotency;
  std::string default_network_mode = "isolated";
  std::filesystem::path embedded_images;  ///< OCI layouts that come with the program, by name; empty: none
  std::string version = {};               ///< of the server
  WallTime started_at = wall_now();
  std::atomic<bool> ready{true};
  std::shared_ptr<AuditTrail> audit = {};  ///< null: this server keeps none
  std::vector<std::shared_ptr<WebhookQueue>> webhooks = {};
  std::stop_source stopping = {};  ///< requested when the server begins to stop: endless streams end then

  GuestAccessActor guests() const { return caf::actor_cast<GuestAccessActor>(plane.guests); }
  const Boards& boards() const { return *plane.control->boards; }
  Boards& boards() { return *plane.control->boards; }
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
void add_event_routes(Router& router, Api& api);
void add_audit_route(Router& router, Api& api);
void add_webhook_route(Router& router, Api& api);
void add_health_routes(Router& router, Api& api);
/// The API's description at /openapi.json, which says that it is of this version of the server.
void add_description_route(Router& router, Api& api);

/// All of them: what the server serves.
void add_routes(Router& router, Api& api);

}  // namespace nanobox::http
