#include "tools/nanobox/sandbox_calls.hpp"

#include "tools/nanobox/command.hpp"
#include "tools/nanobox/json.hpp"
#include "tools/nanobox/output.hpp"
#include "tools/nanobox/process_follower.hpp"

namespace nanobox::cli {
namespace {

void put_variables(JsonWriter& json, std::string_view key, const Variables& variables) {
  if (variables.empty()) return;
  json_key(json, key);
  json.StartObject();
  for (const auto& [name, value] : variables) json_put(json, name, value);
  json.EndObject();
}

std::string create_body(const CreateCall& call) {
  rapidjson::StringBuffer buffer;
  JsonWriter json(buffer);
  json.StartObject();
  json_put(json, "template", call.template_name);
  if (call.sizes.vcpu || call.sizes.memory_mb || call.sizes.disk_mb) {
    json_key(json, "resources");
    json.StartObject();
    if (call.sizes.vcpu) json_put(json, "vcpu", *call.sizes.vcpu);
    if (call.sizes.memory_mb) json_put(json, "memory_mb", *call.sizes.memory_mb);
    if (call.sizes.disk_mb) json_put(json, "disk_mb", *call.sizes.disk_mb);
    json.EndObject();
  }
  if (!call.network_mode.empty()) {
    json_key(json, "network");
    json.StartObject();
    json_put(json, "mode", call.network_mode);
    json.EndObject();
  }
  put_variables(json, "env", call.env);
  put_variables(json, "metadata", call.metadata);
  if (call.timeout_sec) json_put(json, "timeout_sec", *call.timeout_sec);
  if (!call.boot.empty()) json_put(json, "boot", call.boot);
  if (!call.on_timeout.empty()) json_put(json, "on_timeout", call.on_timeout);
  json.EndObject();
  return buffer.GetString();
}

/// @param stdin_text  nothing: it stays open
/// @errors invalid_value where an argument is no UTF-8, which JSON cannot carry
Result<std::string> exec_body(const ExecCall& call, const std::optional<std::string>& stdin_text,
                              bool detached = false) {
  rapidjson::StringBuffer buffer;
  rapidjson::Writer<rapidjson::StringBuffer, rapidjson::UTF8<>, rapidjson::UTF8<>, rapidjson::CrtAllocator,
                    rapidjson::kWriteValidateEncodingFlag>
      json(buffer);
  const auto put = [&](std::string_view key, std::string_view value) {
    json.Key(key.data(), static_cast<rapidjson::SizeType>(key.size()));
    return json.String(value.data(), static_cast<rapidjson::SizeType>(value.size()));
  };
  json.StartObject();
  bool valid = put("command", call.command.front());
  json.Key("args");
  json.StartArray();
  for (std::size_t at = 1; at < call.command.size(); ++at)
    valid = json.String(call.command[at].data(), static_cast<rapidjson::SizeType>(call.command[at].size())) && valid;
  json.EndArray();
  if (!call.env.empty()) {
    json.Key("env");
    json.StartObject();
    for (const auto& [name, value] : call.env) valid = put(name, value) && valid;
    json.EndObject();
  }
  if (!call.cwd.empty()) valid = put("cwd", call.cwd) && valid;
  if (!call.user.empty()) valid = put("user", call.user) && valid;
  if (stdin_text) valid = put("stdin", *stdin_text) && valid;
  if (detached) {
    json.Key("detached");
    json.Bool(true);
  }
  json.Key("timeout_ms");
  json.Uint64(call.timeout_ms);
  json.EndObject();
  if (valid) return std::string(buffer.GetString(), buffer.GetSize());
  return fail({.code = ErrorCode::invalid_value,
               .attempted = "send command",
               .subject = call.command.front(),
               .reason = "its arguments, variables or stdin are no UTF-8 text",
               .mend = ""});
}

std::optional<std::string> no_stdin(const ExecCall& call) {
  return call.sends_stdin ? std::nullopt : std::optional<std::string>("");
}

}  // namespace

std::string sandbox_path(const std::string& id) {
  return "/api/v1/sandboxes/" + url_encode(id);
}

Result<ApiAnswer> create_sandbox(ApiClient& client, const CreateCall& call) {
  return client.ask({.method = "POST",
                     .path = "/api/v1/sandboxes",
                     .body = create_body(call),
                     .patience = std::chrono::seconds{300}});
}

Result<ApiAnswer> place_sandbox(ApiClient& client, const CreateCall& call) {
  auto answer =
      NANOBOX_TRY(client.ask({.method = "POST", .path = "/api/v1/sandboxes?dry_run=1", .body = create_body(call)}));
  // A server from before dry runs overlooks the query.
  if (const auto id = json_text(answer.json(), "id"); !id.empty())
    return fail({.code = ErrorCode::io_failed,
                 .attempted = "try a placement",
                 .subject = "",
                 .reason = "this server knows no dry run, and made sandbox " + id,
                 .mend = "nanobox rm " + id});
  return answer;
}

Result<int> exec_streamed(ApiClient& client, const ExecCall& call) {
  return follow(client, {.request = {.method = "POST",
                                     .path = sandbox_path(call.sandbox_id) + "/exec",
                                     .body = NANOBOX_TRY(exec_body(call, no_stdin(call))),
                                     .patience = std::chrono::milliseconds{0},
                                     .accept = "text/event-stream"},
                         .sandbox_id = call.sandbox_id,
                         .sends_stdin = call.sends_stdin,
                         .tick = call.tick,
                         .tick_every = call.tick_every});
}

Result<int> exec_as_json(ApiClient& client, const ExecCall& call) {
  const auto input = call.sends_stdin ? NANOBOX_TRY(read_stdin()) : "";
  const auto answer = NANOBOX_TRY(client.ask({.method = "POST",
                                              .path = sandbox_path(call.sandbox_id) + "/exec",
                                              .body = NANOBOX_TRY(exec_body(call, input)),
                                              .patience = std::chrono::milliseconds{0},
                                              .tick = call.tick,
                                              .tick_every = call.tick_every}));
  const auto outcome = answer.json();
  if (!outcome.IsObject())
    return fail({.code = ErrorCode::io_failed,
                 .attempted = "exec in",
                 .subject = call.sandbox_id,
                 .reason = "the server's answer is no JSON",
                 .mend = ""});
  NANOBOX_TRY(print_json(answer.body));
  return json_flag(outcome, "timed_out") ? kTimedOut : static_cast<int>(json_number(outcome, "exit_code", kOwnFailure));
}

Result<ApiAnswer> exec_detached(ApiClient& client, const ExecCall& call) {
  return client.ask({.method = "POST",
                     .path = sandbox_path(call.sandbox_id) + "/exec",
                     .body = NANOBOX_TRY(exec_body(call, no_stdin(call), true)),
                     .patience = std::chrono::seconds{60}});
}

Result<void> remove_sandbox(ApiClient& client, const std::string& id) {
  const ApiRequest request{
      .method = "DELETE", .path = sandbox_path(id), .body = "", .patience = std::chrono::seconds{60}};
  const auto answer = NANOBOX_TRY(client.send(request));
  if (answer.status == 404 || (answer.status >= 200 && answer.status <= 299)) return {};
  return fail(error_of(answer, request));
}

Result<Variables> read_variables(const std::vector<std::string>& texts, const Environment& environment) {
  Variables variables;
  for (const auto& text : texts) {
    const auto equals = text.find('=');
    const auto name = text.substr(0, equals);
    if (name.empty())
      return fail({.code = ErrorCode::invalid_value,
                   .attempted = "read command line",
                   .subject = "--env " + text,
                   .reason = "it has no name",
                   .mend = "write --env NAME=VALUE"});
    if (equals != std::string::npos)
      variables[name] = text.substr(equals + 1);
    else if (const auto own = environment.find(name); own != environment.end())
      variables[name] = own->second;
  }
  return variables;
}

}  // namespace nanobox::cli
