#include <rapidjson/document.h>

#include <optional>

#include "tools/nanobox/command.hpp"
#include "tools/nanobox/inspect_text.hpp"
#include "tools/nanobox/json.hpp"
#include "tools/nanobox/listing.hpp"
#include "tools/nanobox/node_lines.hpp"
#include "tools/nanobox/output.hpp"
#include "tools/nanobox/process_list.hpp"
#include "tools/nanobox/sandbox_calls.hpp"
#include "tools/nanobox/table.hpp"

namespace nanobox::cli {
namespace {

/// Exit code where what was asked for has ended.
constexpr int kEnded = 3;

/// Nothing where the server knows none of that name, or does not let this key see it.
Result<std::optional<std::string>> look_up(ApiClient& client, const std::string& path) {
  auto answer = client.ask({.method = "GET", .path = path});
  if (answer) return std::optional(std::move(answer->body));
  switch (answer.error().code) {
    case ErrorCode::sandbox_not_found:
    case ErrorCode::template_not_found:
    case ErrorCode::template_name_invalid:
    case ErrorCode::node_not_found:
    case ErrorCode::route_not_found:
    case ErrorCode::forbidden:
      return std::nullopt;
    default:
      return fail(answer.error());
  }
}

rapidjson::Document parsed(const std::string& text) {
  rapidjson::Document json;
  json.Parse(text.data(), text.size());
  return json;
}

/// {"kind":KIND, then each name with its JSON, "null" where there is none.
std::string as_json(std::string_view kind, const std::vector<std::pair<std::string_view, std::string>>& parts) {
  std::string text = "{\"kind\":\"" + std::string(kind) + "\"";
  for (const auto& [name, json] : parts)
    text += ",\"" + std::string(name) + "\":" + json.substr(0, json.find_last_not_of(" \r\n") + 1);
  return text + "}";
}

/// What a living sandbox has beside itself. Its guest may not answer, and its runs be forgotten: that is no failure.
struct Surroundings {
  std::string processes = "null";  ///< an array
  std::string run = "null";        ///< the last
  std::string text;
};

Surroundings look_around(ApiClient& client, const std::string& id, bool is_running) {
  Surroundings seen;
  if (is_running) {
    const auto path = sandbox_path(id) + "/processes";
    if (const auto list = whole_list(client, path)) {
      const auto json = parsed(*list);
      rapidjson::StringBuffer buffer;
      JsonWriter writer(buffer);
      if (const auto* items = json_member(json, "items")) items->Accept(writer);
      seen.processes = buffer.GetString();
      if (const auto table = process_table(json)) seen.text += "\n" + *table;
    } else {
      seen.text += "\nits processes are not known: " + printable(describe(list.error())) + "\n";
    }
  }
  const auto runs =
      client.ask({.method = "GET", .path = "/api/v1/pipelines/runs?subject=" + url_encode(id) + "&order=desc&limit=1"});
  if (!runs) return seen;
  const auto json = runs->json();
  const auto* items = json_member(json, "items");
  if (items == nullptr || !items->IsArray() || items->Empty()) return seen;
  rapidjson::StringBuffer buffer;
  JsonWriter writer(buffer);
  (*items)[0].Accept(writer);
  seen.run = buffer.GetString();
  seen.text += "\n" + run_text((*items)[0]);
  return seen;
}

Result<int> show_death(Session& session, const std::string& death) {
  NANOBOX_TRY(session.json() ? print_json(as_json("death", {{"death", death}}))
                             : print_text(death_text(parsed(death))));
  return kEnded;
}

Result<int> show_sandbox(Session& session, ApiClient& client, const std::string& id, const std::string& body) {
  const auto sandbox = parsed(body);
  const auto status = json_text(sandbox, "status");
  if (status == "failed")
    if (const auto death = NANOBOX_TRY(look_up(client, sandbox_path(id) + "/death")))
      return show_death(session, *death);
  const auto seen = look_around(client, id, status == "running");
  NANOBOX_TRY(session.json() ? print_json(as_json(
                                   "sandbox", {{"sandbox", body}, {"processes", seen.processes}, {"run", seen.run}}))
                             : print_text(sandbox_text(sandbox) + seen.text));
  return status == "failed" ? kEnded : 0;
}

Result<int> inspect(Session& session) {
  const auto& id = session.arguments.words.front();
  const auto server = NANOBOX_TRY(session.server());
  ApiClient client(server.address, &session.interruption);
  if (const auto sandbox = NANOBOX_TRY(look_up(client, sandbox_path(id))))
    return show_sandbox(session, client, id, *sandbox);
  if (const auto death = NANOBOX_TRY(look_up(client, sandbox_path(id) + "/death"))) return show_death(session, *death);
  if (const auto entry = NANOBOX_TRY(look_up(client, "/api/v1/templates/" + url_encode(id)))) {
    NANOBOX_TRY(session.json() ? print_json(as_json("template", {{"template", *entry}}))
                               : print_text(template_text(parsed(*entry))));
    return 0;
  }
  if (const auto node = NANOBOX_TRY(look_up(client, "/api/v1/nodes/" + url_encode(id)))) {
    NANOBOX_TRY(session.json() ? print_json(as_json("node", {{"node", *node}}))
                               : print_text(node_lines(parsed(*node))));
    return 0;
  }
  return fail({.code = ErrorCode::sandbox_not_found,
               .attempted = "inspect",
               .subject = id,
               .reason = "there is no sandbox, template or node of that name, and none ended in the last hour",
               .mend = "'nanobox ps', 'nanobox templates' and 'nanobox nodes' list them"});
}

}  // namespace

CommandSpec inspect_command_spec() {
  return {
      .name = "inspect",
      .usage = "SANDBOX | TEMPLATE | NODE",
      .summary = "show all that is known of a sandbox, or why it ended",
      .lesson =
          "Shows one sandbox in full: its size, network, how it booted, when it expires, its processes and its\n"
          "last run. Of one that has ended in the last hour it shows why: the cause, what it had used and the last\n"
          "lines of its console. Templates and nodes are shown by their names.\n\n"
          "Causes: asked (deleted), expired, vm_exit (its guest halted, or its VMM ended), out_of_memory,\n"
          "kernel_panic, node_lost, shutdown (of its daemon), failed (the reason says how).\n\n"
          "Exit code: 0 it is alive, 3 it has ended, 1 nobody knows it.\n\n"
          "  nanobox inspect sb-01jq…\n"
          "  nanobox inspect node22\n"
          "  nanobox inspect sb-01jq… --json | jq -r .death.cause",
      .options = with_common({}),
      .least_words = 1,
      .most_words = 1,
      .run = inspect};
}

}  // namespace nanobox::cli
