#include <sys/stat.h>

#include <filesystem>
#include <set>

#include "http/json/writer.hpp"
#include "http/resources/api.hpp"
#include "http/resources/ask.hpp"

namespace nanobox::http {

namespace {

/// Why the node cannot do its work now, if so.
std::optional<Error> node_problem(const Api& api) {
  const auto& services = *api.node.services;
  if (!services.driver) return services.driver_problem;
  for (const auto& health : api.boards().concerns.all()) {
    if (!health->unsteady_until || *health->unsteady_until < std::chrono::steady_clock::now()) continue;
    return Error{
        .code = ErrorCode::not_ready,
        .attempted = "run " + health->concern,
        .subject = "",
        .reason = "it died " + std::to_string(health->deaths.size()) + " times within a minute: " + health->reason,
        .mend = "the log says more"};
  }
  return std::nullopt;
}

/// The warm pools of one owner, or of all.
void put_pools(json::Writer& json, const Api& api, const std::optional<std::string>& owner) {
  json.key("pools").begin_array();
  for (const auto& pool : api.boards().pools.all()) {
    if (owner && pool->owner != *owner) continue;
    json.begin_object()
        .field("template", pool->template_name)
        .field("ready", pool->ready)
        .field("min_ready", pool->min_ready)
        .field("max_ready", pool->max_ready);
    if (!pool->problem.empty()) json.field("problem", pool->problem);
    json.end_object();
  }
  json.end_array();
}

std::string node_json(const Api& api) {
  const auto& services = *api.node.services;
  std::uint64_t vcpu = 0, memory_mb = 0, disk_mb = 0, sandboxes = 0;
  for (const auto& sandbox : api.boards().sandboxes.all()) {
    if (sandbox->status == SandboxStatus::failed) continue;
    ++sandboxes;
    disk_mb += sandbox->resources.disk_mb;
    if (sandbox->status == SandboxStatus::paused) continue;
    vcpu += sandbox->resources.vcpu;
    memory_mb += sandbox->resources.memory_mb;
  }
  std::error_code error;
  const auto space = std::filesystem::space(services.sandboxes_folder, error);
  const auto problem = node_problem(api);
  json::Writer json;
  json.begin_object().field("id", services.node_id).field("status", problem ? "unready" : "ready");
  if (problem)
    json.field("reason", describe(*problem));
  else
    json.null_field("reason");
  if (services.driver)
    json.field("vmm", to_string(services.driver->kind()));
  else
    json.null_field("vmm");
  json.key("resources").begin_object();
  json.key("total")
      .begin_object()
      .field("memory_mb", services.memory_budget_mb)
      .field("disk_mb", error ? 0 : space.capacity >> 20)
      .end_object();
  json.key("used")
      .begin_object()
      .field("vcpu", vcpu)
      .field("memory_mb", memory_mb)
      .field("disk_mb", disk_mb)
      .end_object();
  json.end_object();
  json.field("sandboxes", sandboxes).field("templates", api.boards().templates.all().size());
  put_pools(json, api, std::nullopt);
  json.field("last_heartbeat_at", to_rfc3339(wall_now())).end_object();
  return json.take();
}

std::uint64_t bytes_below(const std::filesystem::path& folder) {
  std::uint64_t sum = 0;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error))
    if (entry.is_regular_file(error) && !entry.is_symlink(error)) sum += entry.file_size(error);
  return sum;
}

/// What the files below a folder take on disk: one with holes less than its size, one of several names once.
std::uint64_t allocated_below(const std::filesystem::path& folder, std::set<std::pair<dev_t, ino_t>>& seen) {
  std::uint64_t sum = 0;
  std::error_code error;
  for (auto entry = std::filesystem::directory_iterator(folder, error);
       !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    struct stat status {};
    if (::lstat(entry->path().c_str(), &status) != 0) continue;  // gone meanwhile
    if (S_ISDIR(status.st_mode))
      sum += allocated_below(entry->path(), seen);
    else if (S_ISREG(status.st_mode) && (status.st_nlink < 2 || seen.emplace(status.st_dev, status.st_ino).second))
      sum += static_cast<std::uint64_t>(status.st_blocks) * 512;
  }
  return sum;
}

std::string stats_json(const Api& api, const Request& request) {
  std::map<std::string, std::uint64_t> states;
  for (const auto& sandbox : api.boards().sandboxes.all()) ++states[std::string(to_string(sandbox->status))];
  json::Writer json;
  json.begin_object().field("nodes", 1).key("sandboxes").begin_object();
  for (const auto& state : {"creating", "running", "pausing", "paused", "resuming", "stopping", "failed", "lost"})
    json.field(state, states[state]);
  json.end_object().field("templates", api.boards().templates.all().size());
  put_pools(json, api, request.is_admin ? std::nullopt : std::optional(request.owner));
  std::set<std::pair<dev_t, ino_t>> seen;
  json.field("cache_bytes", bytes_below(api.node.services->cache.blobs / "sha256"))
      .field("snapshot_bytes", allocated_below(api.node.services->snapshots_folder, seen))
      .end_object();
  return json.take();
}

bool admin_only(const Request& request, Responder& responder) {
  if (request.is_admin) return true;
  responder.send_problem({.code = ErrorCode::forbidden,
                          .attempted = "look at the nodes",
                          .subject = "",
                          .reason = "this is the administrator's",
                          .mend = "use the administrator's key"});
  return false;
}

}  // namespace

void add_node_routes(Router& router, Api& api) {
  router.add(Method::get, "/api/v1/nodes", [&api](const Request& request, Responder responder) {
    if (!admin_only(request, responder)) return;
    responder.send(200, "{\"items\":[" + node_json(api) + "],\"next_cursor\":null}");
  });
  router.add(Method::get, "/api/v1/nodes/{id}", [&api](const Request& request, Responder responder) {
    if (!admin_only(request, responder)) return;
    if (request.param("id") != api.node.services->node_id)
      return responder.send_problem({.code = ErrorCode::node_not_found,
                                     .attempted = "find node",
                                     .subject = std::string(request.param("id")),
                                     .reason = "there is none of that id",
                                     .mend = "GET /api/v1/nodes lists them"});
    responder.send(200, node_json(api));
  });
  router.add(Method::get, "/api/v1/stats",
             [&api](const Request& request, Responder responder) { responder.send(200, stats_json(api, request)); });
}

void add_health_routes(Router& router, Api& api) {
  const RouteOptions open{.needs_key = false, .while_draining = true};
  router.add(
      Method::get, "/healthz", [](Request, Responder responder) { responder.send(200, R"({"status":"ok"})"); }, open);
  router.add(
      Method::get, "/readyz",
      [&api](Request, Responder responder) {
        if (!api.ready)
          return responder.send_problem({.code = ErrorCode::shutting_down,
                                         .attempted = "be ready",
                                         .subject = "",
                                         .reason = "the server is stopping",
                                         .mend = "",
                                         .retry_after_sec = 5});
        if (auto problem = node_problem(api)) {
          problem->code = ErrorCode::not_ready;
          return responder.send_problem(*problem);
        }
        responder.send(200, R"({"status":"ready"})");
      },
      open);
}

}  // namespace nanobox::http
