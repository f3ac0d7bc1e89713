#include <map>

#include "actors/cluster/node_usage.hpp"
#include "http/json/document.hpp"
#include "http/json/reader.hpp"
#include "http/json/writer.hpp"
#include "http/resources/api.hpp"
#include "http/resources/ask.hpp"

namespace nanobox::http {

namespace {

constexpr std::chrono::seconds kShort{30};
constexpr std::int64_t kDrainMax = 86'400;
constexpr std::int64_t kTokenMax = 7 * 86'400;

void put_pools(json::Writer& json, const std::vector<PoolState>& pools) {
  json.key("pools").begin_array();
  for (const auto& pool : pools) {
    json.begin_object()
        .field("template", pool.template_name)
        .field("ready", pool.ready)
        .field("min_ready", pool.min_ready)
        .field("max_ready", pool.max_ready);
    if (!pool.problem.empty()) json.field("problem", pool.problem);
    json.end_object();
  }
  json.end_array();
}

/// The warm pools of one owner, or of all, each summed over the nodes.
std::vector<PoolState> pools_of(const Api& api, const std::optional<std::string>& owner) {
  std::map<std::string, PoolState> sums;
  for (const auto& node : api.boards().nodes.all()) {
    if (node->state == NodeState::lost) continue;
    for (const auto& pool : node->pools) {
      if (owner && pool.owner != *owner) continue;
      const auto [sum, first] = sums.try_emplace(template_key(pool.owner, pool.template_name), pool);
      if (first) continue;
      sum->second.ready += pool.ready;
      sum->second.min_ready += pool.min_ready;
      sum->second.max_ready += pool.max_ready;
      if (sum->second.problem.empty()) sum->second.problem = pool.problem;
    }
  }
  std::vector<PoolState> pools;
  for (auto& [key, sum] : sums) pools.push_back(std::move(sum));
  return pools;
}

/// Why this server cannot do its work now, if so.
std::optional<Error> problem_of(const Api& api) {
  if (api.local)
    if (auto problem = node_problem(*api.local)) return problem;
  return unsteady_concern(api.boards());
}

struct Used {
  std::uint64_t vcpu = 0, memory_mb = 0, disk_mb = 0, sandboxes = 0;
};

std::map<std::string, Used> used_by_node(const Api& api) {
  std::map<std::string, Used> nodes;
  for (const auto& sandbox : api.boards().sandboxes.all()) {
    if (sandbox->status == SandboxStatus::failed) continue;
    auto& used = nodes[sandbox->node_id];
    ++used.sandboxes;
    used.disk_mb += sandbox->resources.disk_mb;
    if (sandbox->status == SandboxStatus::paused) continue;
    used.vcpu += sandbox->resources.vcpu;
    used.memory_mb += sandbox->resources.memory_mb;
  }
  return nodes;
}

template <class Value>
void put_or_null(json::Writer& json, std::string_view key, const Value& value, bool there) {
  if (there)
    json.field(key, value);
  else
    json.null_field(key);
}

std::string node_json(const NodeStatus& node, const Used& used) {
  json::Writer json;
  json.begin_object().field("id", node.node_id).field("status", to_string(node.state));
  put_or_null(json, "reason", node.reason, !node.reason.empty());
  json.field("cordoned", node.cordoned).field("draining", node.draining);
  put_or_null(json, "drain_until", to_rfc3339(node.drain_until.value_or(WallTime{})), node.drain_until.has_value());
  put_or_null(json, "vmm", node.vmm, !node.vmm.empty());
  put_or_null(json, "version", node.version, !node.version.empty());
  put_or_null(json, "subnet_part", node.subnet_parts.empty() ? "" : node.subnet_parts.front(),
              !node.subnet_parts.empty());
  json.key("subnet_parts").begin_array();
  for (const auto& part : node.subnet_parts) json.value(part);
  json.end_array();
  put_or_null(json, "overlay_addr", node.overlay_addr, !node.overlay_addr.empty());
  json.key("resources").begin_object();
  json.key("total")
      .begin_object()
      .field("vcpu", node.capacity.vcpu)
      .field("memory_mb", node.capacity.memory_mb)
      .field("disk_mb", node.capacity.disk_mb)
      .end_object();
  json.key("used")
      .begin_object()
      .field("vcpu", used.vcpu)
      .field("memory_mb", used.memory_mb)
      .field("disk_mb", used.disk_mb)
      .end_object();
  json.key("free").begin_object().field("disk_mb", node.beat.disk_free_mb).end_object();
  json.end_object();
  json.field("sandboxes", used.sandboxes).field("templates", node.beat.templates);
  put_pools(json, node.pools);
  json.field("epoch", node.epoch);
  json.field("last_heartbeat_at", to_rfc3339(node.last_heartbeat_at)).end_object();
  return json.take();
}

std::string node_json(const Api& api, const NodeStatus& node) {
  return node_json(node, used_by_node(api)[node.node_id]);
}

std::string stats_json(const Api& api, const Request& request) {
  std::map<std::string, std::uint64_t> states;
  for (const auto& sandbox : api.boards().sandboxes.all()) ++states[std::string(to_string(sandbox->status))];
  std::uint64_t nodes = 0, cache_bytes = 0, snapshot_bytes = 0;
  for (const auto& node : api.boards().nodes.all()) {
    auto beat = node->beat;
    if (api.local && api.local->node_id == node->node_id) measure_usage(*api.local, beat);
    nodes += node->state == NodeState::lost ? 0 : 1;
    cache_bytes += beat.cache_bytes;
    snapshot_bytes += beat.snapshot_bytes;
  }
  json::Writer json;
  json.begin_object().field("nodes", nodes).key("sandboxes").begin_object();
  for (const auto& state : {"creating", "running", "pausing", "paused", "resuming", "stopping", "failed", "lost"})
    json.field(state, states[state]);
  json.end_object().field("templates", api.boards().templates.all().size());
  put_pools(json, pools_of(api, request.is_admin ? std::nullopt : std::optional(request.owner)));
  json.field("cache_bytes", cache_bytes).field("snapshot_bytes", snapshot_bytes).end_object();
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

Error no_such_node(const Request& request) {
  return {.code = ErrorCode::node_not_found,
          .attempted = "find node",
          .subject = std::string(request.param("id")),
          .reason = "there is none of that id",
          .mend = "GET /api/v1/nodes lists them"};
}

/// Cordon, drain, uncordon: the node as it is then.
template <class... Message>
void change_node(Api& api, Responder responder, const Message&... message) {
  ask_actor<NodeStatus>(
      api, std::make_shared<Responder>(std::move(responder)), kShort, "change node", api.plane.nodes,
      [&api](Responder& to, const NodeStatus& node) { to.send(200, node_json(api, node)); }, message...);
}

/// Reads a body in which one number may stand.
Result<std::int64_t> read_number(const Request& request, const char* name, std::int64_t otherwise, std::int64_t most) {
  const auto document = NANOBOX_TRY(json::parse_body(request));
  json::Complaints complaints;
  json::ObjectReader body(document, complaints);
  const auto number = body.integer(name, 0, most).value_or(otherwise);
  body.finish();
  NANOBOX_TRY(complaints.result());
  return number;
}

/// A body that has nothing to say.
Result<void> read_nothing(const Request& request) {
  const auto document = NANOBOX_TRY(json::parse_body(request));
  json::Complaints complaints;
  json::ObjectReader(document, complaints).finish();
  return complaints.result();
}

template <class... Message>
void change_at_once(Api& api, const Request& request, Responder responder, const Message&... message) {
  if (!admin_only(request, responder)) return;
  if (const auto nothing = read_nothing(request); !nothing) return responder.send_problem(nothing.error());
  change_node(api, std::move(responder), message...);
}

void drain(Api& api, const Request& request, Responder responder) {
  if (!admin_only(request, responder)) return;
  const auto deadline_sec = read_number(request, "deadline_sec", 600, kDrainMax);
  if (!deadline_sec) return responder.send_problem(deadline_sec.error());
  change_node(api, std::move(responder), cordon_atom_v, std::string(request.param("id")), true,
              static_cast<std::uint32_t>(*deadline_sec));
}

void invite(Api& api, const Request& request, Responder responder) {
  if (!admin_only(request, responder)) return;
  const auto lifetime_sec = read_number(request, "lifetime_sec", 3600, kTokenMax);
  if (!lifetime_sec) return responder.send_problem(lifetime_sec.error());
  if (!api.invite)
    return responder.send_problem({.code = ErrorCode::conflict,
                                   .attempted = "invite a node",
                                   .subject = "",
                                   .reason = "this server takes no nodes",
                                   .mend = "set [cluster] listen_addr where nodes can reach it, and start it again"});
  const auto made = api.invite(std::chrono::seconds(*lifetime_sec));
  if (!made) return responder.send_problem(made.error());
  json::Writer json;
  json.begin_object()
      .field("token", made->token)
      .field("expires_at", to_rfc3339(made->expires_at))
      .field("join_addr", made->join_addr)
      .field("command", "nanoboxd --role node --join " + made->join_addr + " --token-file FILE")
      .end_object();
  responder.send(201, json.take());
}

}  // namespace

void add_node_routes(Router& router, Api& api) {
  router.add(Method::get, "/api/v1/nodes", [&api](const Request& request, Responder responder) {
    if (!admin_only(request, responder)) return;
    const auto page = read_page(request);
    if (!page) return responder.send_problem(page.error());
    auto used = used_by_node(api);
    responder.send(200, list_json(
                            api.boards().nodes.all(), *page, [](const auto& node) { return node->node_id; },
                            [&](const auto& node) { return node_json(*node, used[node->node_id]); }));
  });
  router.add(Method::get, "/api/v1/nodes/{id}", [&api](const Request& request, Responder responder) {
    if (!admin_only(request, responder)) return;
    const auto node = api.boards().nodes.find(std::string(request.param("id")));
    if (!node) return responder.send_problem(no_such_node(request));
    responder.send(200, node_json(api, *node));
  });
  router.add(Method::post, "/api/v1/nodes/{id}/drain",
             [&api](const Request& request, Responder responder) { drain(api, request, std::move(responder)); });
  router.add(Method::post, "/api/v1/nodes/{id}/cordon", [&api](const Request& request, Responder responder) {
    change_at_once(api, request, std::move(responder), cordon_atom_v, std::string(request.param("id")), false,
                   std::uint32_t{0});
  });
  router.add(Method::post, "/api/v1/nodes/{id}/uncordon", [&api](const Request& request, Responder responder) {
    change_at_once(api, request, std::move(responder), uncordon_atom_v, std::string(request.param("id")));
  });
  router.add(Method::del, "/api/v1/nodes/{id}", [&api](const Request& request, Responder responder) {
    if (!admin_only(request, responder)) return;
    ask_actor<void>(
        api, std::make_shared<Responder>(std::move(responder)), kShort, "remove node", api.plane.nodes,
        [](Responder& to) { to.send(204); }, remove_atom_v, std::string(request.param("id")));
  });
  router.add(Method::post, "/api/v1/nodes/tokens",
             [&api](const Request& request, Responder responder) { invite(api, request, std::move(responder)); });
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
        if (auto problem = problem_of(api)) {
          problem->code = ErrorCode::not_ready;
          return responder.send_problem(*problem);
        }
        responder.send(200, R"({"status":"ready"})");
      },
      open);
}

}  // namespace nanobox::http
