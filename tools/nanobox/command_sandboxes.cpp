#include <set>

#include "tools/nanobox/command.hpp"
#include "tools/nanobox/json.hpp"
#include "tools/nanobox/listing.hpp"
#include "tools/nanobox/output.hpp"
#include "tools/nanobox/process_follower.hpp"
#include "tools/nanobox/process_list.hpp"
#include "tools/nanobox/sandbox_calls.hpp"
#include "tools/nanobox/table.hpp"

namespace nanobox::cli {
namespace {

/// Longer than the server tries.
constexpr std::chrono::seconds kStatePatience{130};
constexpr std::chrono::seconds kCopyPatience{310};

std::string size_text(const rapidjson::Value& sandbox) {
  return std::to_string(json_number_in(sandbox, "resources", "vcpu")) + " cpu, " +
         std::to_string(json_number_in(sandbox, "resources", "memory_mb")) + " MiB";
}

/// A time in milliseconds; "" where there is none.
std::string time_text(const rapidjson::Value& object, std::string_view key) {
  const auto* time = json_member(object, key);
  return time != nullptr && time->IsInt64() ? duration_text(time->GetInt64()) : "";
}

Result<int> list_sandboxes(Session& session) {
  if (!session.arguments.words.empty()) return list_processes(session);
  const auto server = NANOBOX_TRY(session.server());
  ApiClient client(server.address, &session.interruption);
  std::string path = "/api/v1/sandboxes";
  for (const char* filter : {"template", "status"})
    if (const auto value = session.arguments.value(filter))
      path += (path.find('?') == std::string::npos ? "?" : "&") + std::string(filter) + "=" + url_encode(*value);
  if (session.json()) {
    NANOBOX_TRY(print_json(NANOBOX_TRY(whole_list(client, path))));
    return 0;
  }
  constexpr std::ptrdiff_t node_column = 4;
  std::vector<std::vector<std::string>> rows = {
      {"SANDBOX", "TEMPLATE", "STATUS", "SIZE", "NODE", "ADDRESS", "BOOT", "BOOT TIME", "AGE", "EXPIRES", "REASON"}};
  std::set<std::string> nodes;
  NANOBOX_TRY(each_item(client, path, [&](const rapidjson::Value& sandbox) {
    const auto node = json_text(sandbox, "node_id");
    if (!node.empty()) nodes.insert(node);
    rows.push_back({json_text(sandbox, "id"), json_text(sandbox, "template"), json_text(sandbox, "status"),
                    size_text(sandbox), node, json_text(sandbox, "ip"), json_text(sandbox, "boot_path"),
                    time_text(sandbox, "boot_time_ms"), age_text(json_text(sandbox, "created_at")),
                    age_text(json_text(sandbox, "expires_at")), json_text(sandbox, "reason")});
  }));
  // Where all are on one node, its name on every line tells nothing.
  if (nodes.size() < 2)
    for (auto& row : rows) row.erase(row.begin() + node_column);
  Table table(std::move(rows.front()));
  for (std::size_t at = 1; at < rows.size(); ++at) table.add(std::move(rows[at]));
  NANOBOX_TRY(print_text(table.text()));
  return 0;
}

/// Where a sandbox would go and why, and what is to be said of the other nodes.
std::string placement_text(const rapidjson::Value& placement) {
  std::string text = "it would go to " + printable(json_text(placement, "node_id")) + "\n";
  if (const auto* because = json_member(placement, "because"); because != nullptr && because->IsArray())
    for (const auto& reason : because->GetArray())
      if (reason.IsString()) text += "  " + printable({reason.GetString(), reason.GetStringLength()}) + "\n";
  Table others({"OTHERS", "FITS", "WHY"});
  if (const auto* nodes = json_member(placement, "others"); nodes != nullptr && nodes->IsArray())
    for (const auto& node : nodes->GetArray())
      others.add({json_text(node, "node_id"), json_flag(node, "fits") ? "yes" : "no", json_text(node, "why")});
  return others.empty() ? text : text + "\n" + others.text();
}

Result<int> create(Session& session) {
  const auto& args = session.arguments;
  CreateCall call{.template_name = args.words.front(),
                  .sizes = NANOBOX_TRY(read_sizes(args)),
                  .env = NANOBOX_TRY(read_variables(args.values("env"), session.environment)),
                  .metadata = {},
                  .timeout_sec = NANOBOX_TRY(number_option(args, "timeout", 1, 604'800)),
                  .network_mode = args.value("network").value_or(""),
                  .boot = args.value("boot").value_or(""),
                  .on_timeout = args.value("on-timeout").value_or("")};
  for (const auto& text : args.values("metadata")) {
    const auto equals = text.find('=');
    if (equals == 0 || equals == std::string::npos)
      return fail({.code = ErrorCode::invalid_value,
                   .attempted = "read command line",
                   .subject = "--metadata " + text,
                   .reason = "it is no NAME=VALUE",
                   .mend = ""});
    call.metadata[text.substr(0, equals)] = text.substr(equals + 1);
  }
  const auto server = NANOBOX_TRY(session.server());
  ApiClient client(server.address, &session.interruption);
  if (args.has("dry-run")) {
    const auto placement = NANOBOX_TRY(place_sandbox(client, call));
    NANOBOX_TRY(session.json() ? print_json(placement.body) : print_text(placement_text(placement.json())));
    return 0;
  }
  const auto answer = NANOBOX_TRY(create_sandbox(client, call));
  NANOBOX_TRY(session.json() ? print_json(answer.body) : print_text(json_text(answer.json(), "id") + "\n"));
  return 0;
}

Result<int> remove(Session& session) {
  const auto server = NANOBOX_TRY(session.server());
  ApiClient client(server.address, &session.interruption);
  auto ids = session.arguments.words;
  if (session.arguments.has("all"))
    NANOBOX_TRY(each_item(client, "/api/v1/sandboxes",
                          [&](const rapidjson::Value& sandbox) { ids.push_back(json_text(sandbox, "id")); }));
  if (ids.empty() && !session.arguments.has("all"))
    return fail({.code = ErrorCode::missing_field,
                 .attempted = "read command line",
                 .subject = "",
                 .reason = "no sandbox is named",
                 .mend = "write its id, or --all"});
  int code = 0;
  for (const auto& id : ids) {
    const auto removed =
        client.ask({.method = "DELETE", .path = sandbox_path(id), .body = "", .patience = std::chrono::seconds{60}});
    if (removed) {
      NANOBOX_TRY(print_text(id + "\n"));
    } else if (removed.error().code == ErrorCode::cancelled) {
      return fail(removed.error());
    } else {
      tell("nanobox: " + id + ": " + printable(describe(removed.error())));
      code = 1;
    }
  }
  return code;
}

/// A request that makes or changes something, and what of its answer goes to stdout.
Result<int> post_and_print(Session& session, const std::string& what, std::string body, std::chrono::seconds patience,
                           std::string (*text)(const rapidjson::Value& answer)) {
  const auto server = NANOBOX_TRY(session.server());
  ApiClient client(server.address, &session.interruption);
  const auto answer = NANOBOX_TRY(client.ask({.method = "POST",
                                              .path = sandbox_path(session.arguments.words.front()) + "/" + what,
                                              .body = std::move(body),
                                              .patience = patience}));
  NANOBOX_TRY(session.json() ? print_json(answer.body) : print_text(text(answer.json())));
  return 0;
}

std::string id_line(const rapidjson::Value& sandbox) {
  return json_text(sandbox, "id") + "\n";
}

Result<int> pause(Session& session) {
  return post_and_print(session, "pause", "{}", kStatePatience, id_line);
}

Result<int> resume(Session& session) {
  return post_and_print(session, "resume", "{}", kStatePatience, id_line);
}

Result<int> fork(Session& session) {
  const auto count = NANOBOX_TRY(number_option(session.arguments, "count", 1, 100)).value_or(1);
  return post_and_print(session, "fork", "{\"count\":" + std::to_string(count) + "}", kCopyPatience,
                        [](const rapidjson::Value& answer) {
                          std::string ids;
                          if (const auto* items = json_member(answer, "items"); items != nullptr && items->IsArray())
                            for (const auto& child : items->GetArray()) ids += id_line(child);
                          return ids;
                        });
}

Result<int> snapshot(Session& session) {
  rapidjson::StringBuffer buffer;
  JsonWriter json(buffer);
  json.StartObject();
  json_put(json, "name", session.arguments.words[1]);
  json.EndObject();
  return post_and_print(session, "snapshot", buffer.GetString(), kCopyPatience,
                        [](const rapidjson::Value& made) { return json_text(made, "name") + "\n"; });
}

Result<int> show_logs(Session& session) {
  const auto& args = session.arguments;
  const auto& id = args.words.front();
  const std::string source = args.has("init") ? "init" : "console";
  const auto server = NANOBOX_TRY(session.server());
  ApiClient client(server.address, &session.interruption);
  if (args.has("follow"))
    return follow(client, {.request = {.method = "GET",
                                       .path = sandbox_path(id) + "/logs?follow=1&source=" + source,
                                       .body = "",
                                       .patience = std::chrono::milliseconds{0},
                                       .accept = "text/event-stream"},
                           .sandbox_id = id,
                           .is_log = true});
  const auto answer = NANOBOX_TRY(client.ask({.method = "GET", .path = sandbox_path(id) + "/logs?source=" + source}));
  NANOBOX_TRY(print_text(answer.body));
  return 0;
}

}  // namespace

CommandSpec ps_command_spec() {
  return {
      .name = "ps",
      .usage = "[SANDBOX]",
      .summary = "list sandboxes, or the processes of one",
      .lesson =
          "Shows your sandboxes, paused ones too: their state, size, node (where they are on several), how they\n"
          "booted (from the pool, a snapshot, a fork or cold) and how long that took, and when they expire; paused\n"
          "ones do not. With the id of one: the commands started in it that are still known, for 'nanobox attach'\n"
          "and 'nanobox kill'.\n\n"
          "  nanobox ps\n"
          "  nanobox ps sb-01jq…\n"
          "  nanobox ps --template node22 --status running\n"
          "  nanobox ps --json",
      .options = with_common({{"template", 0, "NAME", "only sandboxes made from this template"},
                              {"status", 0, "STATUS", "only those that are running, paused, failed, …"}}),
      .most_words = 1,
      .run = list_sandboxes};
}

CommandSpec create_command_spec() {
  auto options = size_options();
  options.insert(options.end(), {{"env", 'e', "NAME=VALUE", "a variable for every command in it; may be repeated"},
                                 {"metadata", 0, "NAME=VALUE", "a mark to find it by; may be repeated"},
                                 {"timeout", 't', "SECONDS", "how long it lives without a keepalive (300)"},
                                 {"on-timeout", 0, "WHAT", "destroy (the default) or pause, when that is over"},
                                 {"network", 0, "MODE", "isolated, internal or internet"},
                                 {"boot", 0, "WAY", "auto (the fastest there is), pool, snapshot or cold"},
                                 {"dry-run", 0, "", "only say which node it would go to, and why"}});
  return {.name = "create",
          .usage = "TEMPLATE",
          .summary = "start a sandbox and say its id",
          .lesson =
              "Boots a sandbox from a template that is ready, and prints its id as soon as it can run commands.\n\n"
              "  ID=$(nanobox create node22 --memory 1G --timeout 3600)\n"
              "  nanobox exec $ID -- node -v\n"
              "  nanobox rm $ID\n"
              "  nanobox create node22 --on-timeout pause      nothing is lost when nobody comes in time\n"
              "  nanobox create node22 --memory 8G --dry-run      where it would go, and why not elsewhere",
          .options = with_common(std::move(options)),
          .least_words = 1,
          .most_words = 1,
          .run = create};
}

CommandSpec rm_command_spec() {
  return {.name = "rm",
          .usage = "SANDBOX…",
          .summary = "end sandboxes",
          .lesson =
              "Ends sandboxes and removes their disks. Prints the id of each that is gone.\n\n"
              "  nanobox rm sb-01jq…\n"
              "  nanobox rm --all",
          .options = with_common({{"all", 0, "", "every sandbox of yours"}}),
          .run = remove};
}

CommandSpec pause_command_spec() {
  return {.name = "pause",
          .usage = "SANDBOX",
          .summary = "put a sandbox to disk, and its VM away",
          .lesson =
              "Writes a running sandbox's state to disk and ends its VM: memory, processes and files wait there until\n"
              "'nanobox resume', over restarts of the server and the host, and it does not expire. Commands that are\n"
              "attended lose their client, and go on after the resume: 'nanobox ps SANDBOX', 'nanobox attach'.\n\n"
              "  nanobox pause sb-01jq…\n"
              "  nanobox ps --status paused",
          .options = with_common({}),
          .least_words = 1,
          .most_words = 1,
          .run = pause};
}

CommandSpec resume_command_spec() {
  return {.name = "resume",
          .usage = "SANDBOX",
          .summary = "let a paused sandbox go on",
          .lesson =
              "Brings a paused sandbox back where it was, its processes too, and prints its id once commands\n"
              "can run in it.\n\n"
              "  nanobox resume sb-01jq…",
          .options = with_common({}),
          .least_words = 1,
          .most_words = 1,
          .run = resume};
}

CommandSpec fork_command_spec() {
  return {
      .name = "fork",
      .usage = "SANDBOX",
      .summary = "make copies of a running sandbox",
      .lesson =
          "Makes independent copies of a running sandbox, with the memory, processes and files of one instant, and\n"
          "prints their ids, one a line. All of them are made, or none. The sandbox itself goes on.\n\n"
          "  nanobox fork sb-01jq…\n"
          "  for ID in $(nanobox fork --count 3 sb-01jq…); do nanobox exec $ID -- ./try; done",
      .options = with_common({{"count", 'n', "COUNT", "how many, 1 to 100 (1)"}}),
      .least_words = 1,
      .most_words = 1,
      .run = fork};
}

CommandSpec snapshot_command_spec() {
  return {
      .name = "snapshot",
      .usage = "SANDBOX NAME",
      .summary = "make a template of a running sandbox",
      .lesson =
          "Makes a template of a sandbox as it is now, processes and all, and prints the template's name. Sandboxes\n"
          "made from it begin there. The sandbox itself goes on.\n\n"
          "  nanobox exec sb-01jq… -- npm install\n"
          "  nanobox snapshot sb-01jq… node22-with-deps\n"
          "  nanobox create node22-with-deps",
      .options = with_common({}),
      .least_words = 2,
      .most_words = 2,
      .run = snapshot};
}

CommandSpec logs_command_spec() {
  return {.name = "logs",
          .usage = "SANDBOX",
          .summary = "show a sandbox's console",
          .lesson =
              "Shows the last MiB of the VM's console: the kernel's messages, and why a sandbox failed.\n"
              "With --follow it goes on with what comes, until the sandbox ends or Ctrl-C.\n\n"
              "  nanobox logs sb-01jq…\n"
              "  nanobox logs -f sb-01jq…\n"
              "  nanobox logs --init sb-01jq…      what NanoBox's own process inside has to say",
          .options = with_server({{"follow", 'f', "", "go on with what comes"},
                                  {"init", 0, "", "the log of PID 1 inside, instead of the console"}}),
          .least_words = 1,
          .most_words = 1,
          .run = show_logs};
}

}  // namespace nanobox::cli
