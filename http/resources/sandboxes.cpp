#include "config/id.hpp"
#include "http/audit.hpp"
#include "http/json/document.hpp"
#include "http/json/reader.hpp"
#include "http/pagination.hpp"
#include "http/resources/api.hpp"
#include "http/resources/ask.hpp"
#include "http/resources/deaths.hpp"
#include "http/resources/network_field.hpp"
#include "http/resources/resources_field.hpp"
#include "http/resources/template_name_field.hpp"

namespace nanobox::http {

namespace {

constexpr std::chrono::minutes kCreate{5};
constexpr std::chrono::seconds kRemove{90};
constexpr std::chrono::seconds kShort{30};
constexpr std::chrono::minutes kPause{2};
constexpr std::chrono::minutes kCopy{5};
constexpr std::size_t kMapEntriesMax = 256;
constexpr std::int64_t kTimeoutMax = 604'800;
constexpr std::int64_t kForkMax = 100;

bool is_variable_name(std::string_view name) {
  return !name.empty() && name.find('=') == std::string_view::npos && name.find('\0') == std::string_view::npos;
}

BootWay way_of(const std::optional<std::string>& text) {
  if (text == "pool") return BootWay::pool;
  if (text == "snapshot") return BootWay::snapshot;
  if (text == "cold") return BootWay::cold;
  return BootWay::automatic;
}

Result<BootRequest> read_create(Api& api, const Request& request) {
  const auto document = NANOBOX_TRY(json::parse_body(request));
  json::Complaints complaints;
  json::ObjectReader body(document, complaints);
  BootRequest boot;
  boot.received = std::chrono::steady_clock::now();
  auto& sandbox = boot.sandbox;
  sandbox.owner = request.owner;
  sandbox.template_name = body.required_text("template");
  const auto entry = api.boards().templates.find(template_key(request.owner, sandbox.template_name));
  Resources defaults = entry ? entry->resources : Resources{};
  // A root larger than the usual disk is no reason to refuse a request that names no size.
  if (entry)
    defaults.disk_mb =
        std::max(defaults.disk_mb, static_cast<std::uint32_t>((entry->rootfs.size_bytes + (1 << 20) - 1) >> 20));
  sandbox.resources = read_resources(body, defaults);
  sandbox.network.mode = api.default_network_mode;
  body.object("network",
              [&](json::ObjectReader& network) { sandbox.network = read_network(network, api.default_network_mode); });
  sandbox.env = body.text_map("env", kMapEntriesMax).value_or(std::map<std::string, std::string>());
  for (const auto& [name, value] : sandbox.env)
    if (!is_variable_name(name) || value.find('\0') != std::string::npos)
      complaints.invalid("/env", "names must not be empty or hold '=', and nothing may hold NUL");
  sandbox.metadata = body.text_map("metadata", kMapEntriesMax).value_or(std::map<std::string, std::string>());
  sandbox.timeout_sec = static_cast<std::uint32_t>(body.integer("timeout_sec", 1, kTimeoutMax).value_or(300));
  sandbox.on_timeout = body.choice("on_timeout", {"destroy", "pause"}).value_or("destroy");
  boot.way = way_of(body.choice("boot", {"auto", "pool", "snapshot", "cold"}));
  body.finish();
  NANOBOX_TRY(complaints.result());
  if (!entry) return fail(no_such_template(sandbox.template_name));
  return boot;
}

void create(Api& api, const Request& request, Responder responder) {
  if (auto known = check_query(request, {"dry_run"}); !known) return responder.send_problem(known.error());
  auto boot = read_create(api, request);
  if (!boot) return responder.send_problem(boot.error());
  responder.note("template", boot->sandbox.template_name);
  if (request.query_parameter("dry_run") == "1")
    return ask_actor<std::string>(
        api, std::make_shared<Responder>(std::move(responder)), kShort, "place a sandbox", api.plane.sandboxes,
        [](Responder& to, const std::string& placement) { to.send(200, placement); }, place_atom_v, std::move(*boot));
  boot->sandbox.id = make_id("sb");
  const auto id = boot->sandbox.id;
  responder.note("sandbox", id);
  auto shared = std::make_shared<Responder>(std::move(responder));
  shared->on_disconnect([registry = api.plane.sandboxes, id] { caf::anon_send(registry, cancel_atom_v, id); });
  const auto begin = [&api, shared, boot = std::move(*boot)](const Result<void>& noted) {
    if (!noted) return shared->send_problem(noted.error());
    ask_actor<Sandbox>(
        api, shared, kCreate, "create a sandbox", api.plane.sandboxes,
        [registry = api.plane.sandboxes](Responder& to, const Sandbox& sandbox) {
          // A client that left while its sandbox was being made does not know its id.
          if (!to.connected()) caf::anon_send(registry, remove_atom_v, sandbox.id);
          to.send(201, to_json(sandbox));
        },
        create_atom_v, boot);
  };
  api.idempotency->note_subject(request, id, begin);
}

Result<std::vector<std::shared_ptr<const Sandbox>>> filtered(const Api& api, const Request& request) {
  std::map<std::string, std::string> metadata;
  for (const auto& [name, value] : request.query_parameters) {
    if (name.starts_with("metadata."))
      metadata[name.substr(9)] = value;
    else if (name != "limit" && name != "cursor" && name != "template" && name != "status" && name != "node_id")
      return fail({.code = ErrorCode::unknown_field,
                   .attempted = "list sandboxes",
                   .subject = "",
                   .reason = "there is no filter '" + name + "'",
                   .mend = "use template, status, node_id, metadata.KEY, limit, cursor",
                   .fields = {{"?" + name, "is not known"}}});
  }
  std::vector<std::shared_ptr<const Sandbox>> found;
  for (auto& sandbox : api.boards().sandboxes.all()) {
    const auto differs = [&](std::string_view name, std::string_view value) {
      const auto wanted = request.query_parameter(name);
      return wanted && *wanted != value;
    };
    if (sandbox->owner != request.owner || differs("template", sandbox->template_name) ||
        differs("status", to_string(sandbox->status)) || differs("node_id", sandbox->node_id))
      continue;
    bool fits = true;
    for (const auto& [key, value] : metadata) {
      const auto has = sandbox->metadata.find(key);
      fits = fits && has != sandbox->metadata.end() && has->second == value;
    }
    if (fits) found.push_back(std::move(sandbox));
  }
  return found;
}

void keep_alive(Api& api, const Request& request, Responder responder) {
  const auto sandbox = sandbox_of(api, request);
  if (!sandbox) return responder.send_problem(sandbox.error());
  const auto document = json::parse_body(request);
  if (!document) return responder.send_problem(document.error());
  json::Complaints complaints;
  json::ObjectReader body(*document, complaints);
  const auto timeout = body.integer("timeout_sec", 1, kTimeoutMax).value_or((*sandbox)->timeout_sec);
  body.finish();
  if (auto fine = complaints.result(); !fine) return responder.send_problem(fine.error());
  responder.note("timeout_sec", std::to_string(timeout));
  ask_actor<Sandbox>(
      api, std::make_shared<Responder>(std::move(responder)), kShort, "keep the sandbox alive", api.plane.sandboxes,
      [](Responder& to, const Sandbox& kept) {
        to.send(200, "{\"expires_at\":\"" + to_rfc3339(kept.expires_at.value_or(WallTime{})) + "\"}");
      },
      keep_atom_v, (*sandbox)->id, static_cast<std::uint32_t>(timeout));
}

/// Reads a body with what `read` takes from it, for the sandbox of the request.
template <class Read>
auto read_for_sandbox(const Api& api, const Request& request, Read read)
    -> Result<std::pair<std::string, decltype(read(std::declval<json::ObjectReader&>()))>> {
  const auto sandbox = NANOBOX_TRY(sandbox_of(api, request));
  const auto document = NANOBOX_TRY(json::parse_body(request));
  json::Complaints complaints;
  json::ObjectReader body(document, complaints);
  auto wanted = read(body);
  body.finish();
  NANOBOX_TRY(complaints.result());
  return std::pair(sandbox->id, std::move(wanted));
}

void note_network(Responder& responder, const SandboxNetwork& network) {
  responder.note("mode", network.mode);
  if (!network.group.empty()) responder.note("group", network.group);
  if (network.rate_limit_mbps != 0) responder.note("rate_limit_mbps", std::to_string(network.rate_limit_mbps));
  note_list(responder, "allow_domain", network.allow_domains);
  note_list(responder, "allow_cidr", network.allow_cidrs);
  note_list(responder, "deny_cidr", network.deny_cidrs);
}

void change_network(Api& api, const Request& request, Responder responder) {
  const auto sandbox = sandbox_of(api, request);
  if (!sandbox) return responder.send_problem(sandbox.error());
  const auto asked = read_for_sandbox(
      api, request, [&](json::ObjectReader& body) { return read_network(body, (*sandbox)->network.mode); });
  if (!asked) return responder.send_problem(asked.error());
  note_network(responder, asked->second);
  ask_actor<Sandbox>(
      api, std::make_shared<Responder>(std::move(responder)), kShort, "change the sandbox's network",
      api.plane.sandboxes, [](Responder& to, const Sandbox& changed) { to.send(200, to_json(changed)); },
      network_atom_v, asked->first, asked->second);
}

/// Pause and resume: nothing to say but the sandbox, which is the answer too.
template <class Atom>
void change_state(Api& api, const Request& request, Responder responder, const std::string& attempted, Atom atom) {
  const auto asked = read_for_sandbox(api, request, [](json::ObjectReader&) { return true; });
  if (!asked) return responder.send_problem(asked.error());
  ask_actor<Sandbox>(
      api, std::make_shared<Responder>(std::move(responder)), kPause, attempted, api.plane.sandboxes,
      [](Responder& to, const Sandbox& sandbox) { to.send(200, to_json(sandbox)); }, atom, asked->first);
}

/// 11042 as 11.042, 11000 as 11: exactly, which a double is not.
std::string milliseconds_text(std::int64_t microseconds) {
  microseconds = std::max<std::int64_t>(microseconds, 0);
  auto text = std::to_string(microseconds / 1000);
  if (const auto rest = microseconds % 1000; rest != 0) {
    text += "." + std::to_string(1000 + rest).substr(1);
    text.erase(text.find_last_not_of('0') + 1);
  }
  return text;
}

std::string forked_json(const Forked& forked) {
  std::string items;
  for (const auto& child : forked.children) items += (items.empty() ? "" : ",") + to_json(child);
  return "{\"items\":[" + items + "],\"pause_ms\":" + milliseconds_text(forked.pause_us) +
         ",\"frozen_ms\":" + milliseconds_text(forked.frozen_us) + "}";
}

void fork(Api& api, const Request& request, Responder responder) {
  const auto asked = read_for_sandbox(api, request, [](json::ObjectReader& body) {
    return static_cast<std::uint32_t>(body.integer("count", 1, kForkMax).value_or(1));
  });
  if (!asked) return responder.send_problem(asked.error());
  responder.note("count", std::to_string(asked->second));
  ask_actor<Forked>(
      api, std::make_shared<Responder>(std::move(responder)), kCopy, "fork the sandbox", api.plane.sandboxes,
      [](Responder& to, const Forked& forked) { to.send(201, forked_json(forked)); }, fork_atom_v, asked->first,
      asked->second);
}

void snapshot(Api& api, const Request& request, Responder responder) {
  const auto asked = read_for_sandbox(api, request, read_template_name);
  if (!asked) return responder.send_problem(asked.error());
  responder.note("template", asked->second);
  ask_actor<Template>(
      api, std::make_shared<Responder>(std::move(responder)), kCopy, "make a template of the sandbox",
      api.plane.sandboxes, [](Responder& to, const Template& made) { to.send(201, to_json(made, 0)); }, snapshot_atom_v,
      asked->first, asked->second);
}

}  // namespace

void add_sandbox_routes(Router& router, Api& api) {
  router.add(Method::post, "/api/v1/sandboxes",
             api.idempotency->wrap(
                 [&api](const Request& request, Responder responder) { create(api, request, std::move(responder)); }));
  router.add(Method::get, "/api/v1/sandboxes", [&api](const Request& request, Responder responder) {
    const auto page = read_page(request);
    if (!page) return responder.send_problem(page.error());
    const auto sandboxes = filtered(api, request);
    if (!sandboxes) return responder.send_problem(sandboxes.error());
    responder.send(200, list_json(
                            *sandboxes, *page, [](const auto& sandbox) { return sandbox->id; },
                            [](const auto& sandbox) { return to_json(*sandbox); }));
  });
  router.add(Method::get, "/api/v1/sandboxes/{id}", [&api](const Request& request, Responder responder) {
    const auto sandbox = sandbox_of(api, request);
    if (!sandbox) return responder.send_problem(sandbox_not_there(api, request));
    responder.send(200, to_json(**sandbox));
  });
  router.add(Method::del, "/api/v1/sandboxes/{id}", [&api](const Request& request, Responder responder) {
    const auto sandbox = sandbox_of(api, request);
    if (!sandbox) return responder.send_problem(sandbox.error());
    ask_actor<void>(
        api, std::make_shared<Responder>(std::move(responder)), kRemove, "end the sandbox", api.plane.sandboxes,
        [](Responder& to) { to.send(204); }, remove_atom_v, (*sandbox)->id);
  });
  router.add(Method::post, "/api/v1/sandboxes/{id}/keepalive",
             api.idempotency->wrap([&api](const Request& request, Responder responder) {
               keep_alive(api, request, std::move(responder));
             }));
  router.add(Method::put, "/api/v1/sandboxes/{id}/network", [&api](const Request& request, Responder responder) {
    change_network(api, request, std::move(responder));
  });
  router.add(Method::post, "/api/v1/sandboxes/{id}/pause",
             api.idempotency->wrap([&api](const Request& request, Responder responder) {
               change_state(api, request, std::move(responder), "pause the sandbox", pause_atom_v);
             }));
  router.add(Method::post, "/api/v1/sandboxes/{id}/resume",
             api.idempotency->wrap([&api](const Request& request, Responder responder) {
               change_state(api, request, std::move(responder), "resume the sandbox", resume_atom_v);
             }));
  router.add(Method::post, "/api/v1/sandboxes/{id}/fork",
             api.idempotency->wrap(
                 [&api](const Request& request, Responder responder) { fork(api, request, std::move(responder)); }));
  router.add(Method::post, "/api/v1/sandboxes/{id}/snapshot",
             api.idempotency->wrap([&api](const Request& request, Responder responder) {
               snapshot(api, request, std::move(responder));
             }));
}

}  // namespace nanobox::http
