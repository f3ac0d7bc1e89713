#include "http/audit.hpp"

#include <algorithm>
#include <array>
#include <tuple>

#include "config/utf8.hpp"
#include "config/whole_number.hpp"
#include "http/json/writer.hpp"

namespace nanobox::http {

namespace {

constexpr std::size_t kTextMax = 4096;
constexpr std::size_t kArgumentsMax = 64;
constexpr std::size_t kArgumentsBytesMax = 4096;

struct Action {
  Method method;
  std::string_view route;
  std::string_view name;
};
constexpr std::array kActions = {
    Action{Method::post, "/api/v1/sandboxes", "sandbox.create"},
    Action{Method::del, "/api/v1/sandboxes/{id}", "sandbox.delete"},
    Action{Method::get, "/api/v1/sandboxes/{id}/files", "sandbox.files"},
    Action{Method::head, "/api/v1/sandboxes/{id}/files", "sandbox.files"},
    Action{Method::get, "/api/v1/sandboxes/{id}/terminal", "sandbox.terminal"},
    Action{Method::get, "/api/v1/sandboxes/{id}/tcp/{port}", "sandbox.tcp"},
    Action{Method::del, "/api/v1/sandboxes/{id}/processes/{process_id}", "sandbox.signal"},
    Action{Method::post, "/api/v1/sandboxes/{id}/processes/{process_id}/stdin", "sandbox.stdin"},
    Action{Method::del, "/api/v1/templates/{name}", "template.delete"},
    Action{Method::post, "/api/v1/templates/warmup", "template.warmup"},
    Action{Method::post, "/api/v1/nodes/tokens", "node.invite"},
    Action{Method::del, "/api/v1/nodes/{id}", "node.remove"},
};

/// "/api/v1/sandboxes/{id}/exec" is "sandbox.exec", "/api/v1/log" "log.put".
std::string usual_action(Method method, std::string_view route) {
  constexpr std::string_view base = "/api/v1/";
  if (route.starts_with(base)) route.remove_prefix(base.size());
  std::string thing, verb;
  while (!route.empty()) {
    const auto slash = route.find('/');
    const auto segment = route.substr(0, slash);
    if (!segment.empty() && segment.front() != '{') (thing.empty() ? thing : verb) = segment;
    route.remove_prefix(slash == std::string_view::npos ? route.size() : slash + 1);
  }
  if (thing == "sandboxes")
    thing = "sandbox";
  else if (thing.size() > 1 && thing.ends_with('s'))
    thing.pop_back();
  if (verb.empty()) {
    verb = to_string(method);
    std::ranges::transform(verb, verb.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c; });
  }
  return thing + "." + verb;
}

bool is_forwarded(std::string_view route) {
  return route.starts_with("/api/v1/sandboxes/{id}/ports/");
}

std::optional<std::string> action_of(const ServedRequest& request) {
  if (is_forwarded(request.route)) return "sandbox.ports";
  for (const auto& action : kActions)
    if (action.method == request.method && action.route == request.route) return std::string(action.name);
  if (request.method == Method::get || request.method == Method::head || request.method == Method::options)
    return std::nullopt;
  return usual_action(request.method, request.route);
}

enum class Form : std::uint8_t { text, number, list };
struct DetailKey {
  std::string_view note, name;
  Form form;
};
/// What may be in a detail, in this order.
constexpr std::array kDetail = {
    DetailKey{"command", "command", Form::text},
    DetailKey{"arg", "args", Form::list},
    DetailKey{"args_left_out", "args_left_out", Form::number},
    DetailKey{"op", "op", Form::text},
    DetailKey{"path", "path", Form::text},
    DetailKey{"to", "to", Form::text},
    DetailKey{"process", "process", Form::text},
    DetailKey{"signal", "signal", Form::number},
    DetailKey{"port", "port", Form::number},
    DetailKey{"mode", "mode", Form::text},
    DetailKey{"group", "group", Form::text},
    DetailKey{"rate_limit_mbps", "rate_limit_mbps", Form::number},
    DetailKey{"allow_domain", "allow_domains", Form::list},
    DetailKey{"allow_cidr", "allow_cidrs", Form::list},
    DetailKey{"deny_cidr", "deny_cidrs", Form::list},
    DetailKey{"image", "image", Form::text},
    DetailKey{"template", "template", Form::text},
    DetailKey{"count", "count", Form::number},
    DetailKey{"timeout_sec", "timeout_sec", Form::number},
};

void write_value(json::Writer& json, const DetailKey& key, const std::string& value) {
  if (const auto number = whole_number<std::uint64_t>(value); number && key.form == Form::number)
    json.value(*number);
  else
    json.value(value);
}

std::string detail_of(const ServedRequest& request) {
  json::Writer json;
  json.begin_object();
  bool any = false;
  for (const auto& key : kDetail) {
    bool first = true;
    for (const auto& [name, value] : request.notes) {
      if (name != key.note || (!first && key.form != Form::list)) continue;
      if (first) json.key(key.name);
      if (first && key.form == Form::list) json.begin_array();
      write_value(json, key, value);
      first = false;
    }
    if (!first && key.form == Form::list) json.end_array();
    any = any || !first;
  }
  json.end_object();
  return any ? json.take() : "";
}

std::string cut(const std::string& text) {
  if (text.size() <= kTextMax) return text;
  const auto part = std::string_view(text).substr(0, kTextMax);
  return std::string(part.substr(0, utf8_before_cut(part))) + "…";
}

}  // namespace

std::optional<AuditEntry> audit_entry(const ServedRequest& request) {
  if (request.owner.empty() || request.route.empty()) return std::nullopt;
  auto action = action_of(request);
  if (!action) return std::nullopt;
  AuditEntry entry;
  entry.owner = request.owner;
  entry.peer = request.peer_address;
  entry.request_id = request.request_id;
  entry.action = std::move(*action);
  for (const std::string_view subject :
       {note_of(request, "sandbox"), std::string_view(request.subject), note_of(request, "subject")})
    if (entry.subject.empty()) entry.subject = subject;
  entry.method = to_string(request.method);
  entry.route = request.route;
  entry.detail = detail_of(request);
  entry.status = request.status;
  entry.code = note_of(request, "code");
  entry.duration_ms = std::chrono::duration_cast<std::chrono::milliseconds>(request.duration).count();
  return entry;
}

void note_command(Responder& responder, const std::vector<std::string>& argv) {
  if (argv.empty()) return;
  responder.note("command", cut(argv.front()));
  std::size_t bytes = 0, at = 1;
  for (; at < argv.size() && at <= kArgumentsMax; ++at) {
    bytes += argv[at].size();
    if (bytes > kArgumentsBytesMax) break;
    responder.note("arg", argv[at]);
  }
  // Of one that is long itself the beginning says what it was.
  if (at < argv.size() && at <= kArgumentsMax) responder.note("arg", cut(argv[at++]));
  if (at < argv.size()) responder.note("args_left_out", std::to_string(argv.size() - at));
}

void note_file(Responder& responder, std::string op, const std::string& path) {
  responder.note("op", std::move(op));
  responder.note("path", cut(path));
}

void note_list(Responder& responder, const std::string& key, const std::vector<std::string>& texts) {
  for (std::size_t at = 0; at < texts.size() && at < kArgumentsMax; ++at) responder.note(key, cut(texts[at]));
}

}  // namespace nanobox::http
