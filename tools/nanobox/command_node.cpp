#include <unistd.h>

#include <algorithm>
#include <array>

#include "config/clock.hpp"
#include "config/edit_distance.hpp"
#include "tools/nanobox/command.hpp"
#include "tools/nanobox/json.hpp"
#include "tools/nanobox/listing.hpp"
#include "tools/nanobox/node_lines.hpp"
#include "tools/nanobox/output.hpp"
#include "tools/nanobox/table.hpp"

namespace nanobox::cli {
namespace {

// As the server has them.
constexpr std::uint64_t kDrainMaxSec = 86'400;
constexpr std::uint64_t kTokenMaxSec = 7 * 86'400;

std::string node_path(const std::string& id) {
  return "/api/v1/nodes/" + url_encode(id);
}

std::string status_text(const rapidjson::Value& node) {
  return json_text(node, "status") + (json_flag(node, "cordoned") ? " (cordoned)" : "");
}

/// A number of the node; "" where an older server has none.
std::string count_text(const rapidjson::Value& node, std::string_view key) {
  const auto* count = json_member(node, key);
  return count != nullptr && count->IsInt64() ? std::to_string(count->GetInt64()) : "";
}

/// "512/4096 MiB"; "?" for what is not told.
std::string used_text(const rapidjson::Value& node, std::string_view what, std::string_view unit) {
  const auto* resources = json_member(node, "resources");
  if (resources == nullptr) return "";
  const auto part = [&](std::string_view which) {
    const auto* amounts = json_member(*resources, which);
    const auto text = amounts != nullptr ? count_text(*amounts, what) : "";
    return text.empty() ? "?" : text;
  };
  const auto used = part("used"), total = part("total");
  return used == total && used == "?" ? "" : used + "/" + total + std::string(unit);
}

/// "3s ago". Clocks differ a little, so what lies ahead was now.
std::string heartbeat_text(const rapidjson::Value& node) {
  const auto text = json_text(node, "last_heartbeat_at");
  const auto age = age_text(text);
  if (age.empty()) return "";
  if (from_rfc3339(text) == WallTime{}) return "never";
  return age.starts_with("in ") ? "now" : age + " ago";
}

Result<int> list_nodes(Session& session) {
  const auto server = NANOBOX_TRY(session.server());
  ApiClient client(server.address, &session.interruption);
  if (session.json()) {
    NANOBOX_TRY(print_json(NANOBOX_TRY(whole_list(client, "/api/v1/nodes"))));
    return 0;
  }
  Table table({"ID", "STATUS", "VMM", "SANDBOXES", "MEMORY", "DISK", "HEARTBEAT", "REASON"});
  NANOBOX_TRY(each_item(client, "/api/v1/nodes", [&](const rapidjson::Value& node) {
    table.add({json_text(node, "id"), status_text(node), json_text(node, "vmm"), count_text(node, "sandboxes"),
               used_text(node, "memory_mb", " MiB"), used_text(node, "disk_mb", " MiB"), heartbeat_text(node),
               json_text(node, "reason")});
  }));
  NANOBOX_TRY(print_text(table.text()));
  return 0;
}

/// A request about the node that is named, and what of its answer goes to stdout.
Result<int> ask_and_print(Session& session, ApiRequest request, std::string (*text)(const rapidjson::Value& answer)) {
  const auto server = NANOBOX_TRY(session.server());
  ApiClient client(server.address, &session.interruption);
  const auto answer = NANOBOX_TRY(client.ask(request));
  NANOBOX_TRY(session.json() ? print_json(answer.body) : print_text(text(answer.json())));
  return 0;
}

std::string pool_text(const rapidjson::Value& pool) {
  const auto problem = json_text(pool, "problem");
  return count_text(pool, "ready") + " ready of " + count_text(pool, "min_ready") + " to " +
         count_text(pool, "max_ready") + (problem.empty() ? "" : "; " + problem);
}

}  // namespace

std::string node_lines(const rapidjson::Value& node) {
  Table lines({"id", json_text(node, "id")});
  const auto add = [&](std::string name, std::string text) {
    if (!text.empty()) lines.add({std::move(name), std::move(text)});
  };
  add("status", status_text(node));
  add("reason", json_text(node, "reason"));
  add("drain until", moment_text(json_text(node, "drain_until")));
  add("version", json_text(node, "version"));
  add("vmm", json_text(node, "vmm"));
  add("processors", used_text(node, "vcpu", ""));
  add("memory", used_text(node, "memory_mb", " MiB"));
  add("disk", used_text(node, "disk_mb", " MiB"));
  add("sandboxes", count_text(node, "sandboxes"));
  add("templates", count_text(node, "templates"));
  if (const auto* pools = json_member(node, "pools"); pools != nullptr && pools->IsArray())
    for (const auto& pool : pools->GetArray()) add("pool " + json_text(pool, "template"), pool_text(pool));
  add("subnet part", json_text(node, "subnet_part"));
  if (const auto* parts = json_member(node, "subnet_parts"); parts != nullptr && parts->IsArray())
    for (rapidjson::SizeType at = 1; at < parts->Size(); ++at)
      if ((*parts)[at].IsString()) add("", (*parts)[at].GetString());
  add("overlay", json_text(node, "overlay_addr"));
  add("heartbeat", heartbeat_text(node));
  add("epoch", count_text(node, "epoch"));
  return lines.text();
}

namespace {

std::string id_line(const rapidjson::Value& node) {
  return printable(json_text(node, "id")) + "\n";
}

Result<int> show(Session& session) {
  return ask_and_print(session, {.method = "GET", .path = node_path(session.arguments.words[1])}, node_lines);
}

Result<int> drain(Session& session) {
  const auto seconds = NANOBOX_TRY(seconds_option(session.arguments, "deadline", 0, kDrainMaxSec)).value_or(600);
  return ask_and_print(session,
                       {.method = "POST",
                        .path = node_path(session.arguments.words[1]) + "/drain",
                        .body = "{\"deadline_sec\":" + std::to_string(seconds) + "}"},
                       id_line);
}

Result<int> cordon(Session& session) {
  return ask_and_print(
      session, {.method = "POST", .path = node_path(session.arguments.words[1]) + "/cordon", .body = "{}"}, id_line);
}

Result<int> uncordon(Session& session) {
  return ask_and_print(
      session, {.method = "POST", .path = node_path(session.arguments.words[1]) + "/uncordon", .body = "{}"}, id_line);
}

Result<int> remove(Session& session) {
  const auto& id = session.arguments.words[1];
  const auto server = NANOBOX_TRY(session.server());
  ApiClient client(server.address, &session.interruption);
  NANOBOX_TRY(client.ask({.method = "DELETE", .path = node_path(id)}));
  NANOBOX_TRY(print_text(id + "\n"));
  return 0;
}

/// How a person makes a node of a host with the token.
std::string token_lesson(const rapidjson::Value& invitation) {
  const auto address = printable(json_text(invitation, "join_addr"));
  const auto end = printable(moment_text(json_text(invitation, "expires_at")));
  return "\nIt lets one node join" + (end.empty() ? "" : ", until " + end) +
         ". On that host, put it into a file of mode 0600 and start:\n\n"
         "  (umask 077; cat >node.token)        paste the token, then Enter and Ctrl-D\n"
         "  nanoboxd --role node --join " +
         (address.empty() ? "HOST:PORT" : address) + " --token-file node.token\n";
}

Result<int> make_token(Session& session) {
  const auto seconds = NANOBOX_TRY(seconds_option(session.arguments, "lifetime", 1, kTokenMaxSec)).value_or(3600);
  const auto server = NANOBOX_TRY(session.server());
  ApiClient client(server.address, &session.interruption);
  const auto answer = NANOBOX_TRY(client.ask({.method = "POST",
                                              .path = "/api/v1/nodes/tokens",
                                              .body = "{\"lifetime_sec\":" + std::to_string(seconds) + "}"}));
  if (session.json()) {
    NANOBOX_TRY(print_json(answer.body));
    return 0;
  }
  const auto invitation = answer.json();
  const auto token = json_text(invitation, "token");
  if (token.empty())
    return fail({.code = ErrorCode::io_failed,
                 .attempted = "make a token",
                 .subject = "",
                 .reason = "the server's answer holds none",
                 .mend = ""});
  NANOBOX_TRY(print_text(printable(token) + "\n"));
  if (::isatty(STDOUT_FILENO) == 1) NANOBOX_TRY(print_text(token_lesson(invitation)));
  return 0;
}

/// What `nanobox node` can do.
struct NodeVerb {
  std::string_view name;
  bool names_node;          ///< whether an id follows
  std::string_view option;  ///< the one of its own; empty: none
  Result<int> (*run)(Session& session);
};
constexpr std::array kVerbs = {NodeVerb{.name = "show", .names_node = true, .option = "", .run = show},
                               NodeVerb{.name = "drain", .names_node = true, .option = "deadline", .run = drain},
                               NodeVerb{.name = "cordon", .names_node = true, .option = "", .run = cordon},
                               NodeVerb{.name = "uncordon", .names_node = true, .option = "", .run = uncordon},
                               NodeVerb{.name = "rm", .names_node = true, .option = "", .run = remove},
                               NodeVerb{.name = "token", .names_node = false, .option = "lifetime", .run = make_token}};

Result<void> check(const Arguments& arguments) {
  const auto& words = arguments.words;
  const auto refuse = [](std::string subject, std::string reason, std::string mend) {
    return fail({.code = ErrorCode::invalid_value,
                 .attempted = "read command line",
                 .subject = std::move(subject),
                 .reason = std::move(reason),
                 .mend = std::move(mend)});
  };
  const auto verb = std::ranges::find(kVerbs, std::string_view(words[0]), &NodeVerb::name);
  if (verb == kVerbs.end()) {
    std::vector<std::string> known;
    for (const auto& one : kVerbs) known.emplace_back(one.name);
    const auto near = nearest(words[0], known);
    return refuse("node " + words[0], "there is no such thing to do",
                  near ? "did you mean 'nanobox node " + *near + "'?"
                       : "it is one of show, drain, cordon, uncordon, rm and token; see nanobox node --help");
  }
  const auto shown = "node " + words[0];
  if (verb->names_node && (words.size() < 2 || words[1].empty()))
    return refuse(shown, "no node is named", "write nanobox " + shown + " ID; 'nanobox nodes' lists them");
  if (const std::size_t most = verb->names_node ? 2 : 1; words.size() > most)
    return refuse(shown, "'" + words[most] + "' is one word too many", "see nanobox node --help");
  for (const auto& other : kVerbs)
    if (!other.option.empty() && other.option != verb->option && arguments.has(other.option))
      return refuse("--" + std::string(other.option), "it is for 'node " + std::string(other.name) + "'",
                    "leave it out");
  return {};
}

Result<int> run(Session& session) {
  return std::ranges::find(kVerbs, std::string_view(session.arguments.words[0]), &NodeVerb::name)->run(session);
}

}  // namespace

CommandSpec nodes_command_spec() {
  return {
      .name = "nodes",
      .usage = "",
      .summary = "list nodes",
      .lesson =
          "Shows the nodes of the cluster, what they hold and whether they take sandboxes: ready ones do, unready\n"
          "ones say why not, draining ones are being emptied, lost ones are not heard. A cordoned node takes no new\n"
          "ones. Memory and disk are what its sandboxes were given, of what it has to give. Needs an admin's key.\n\n"
          "  nanobox nodes\n"
          "  nanobox nodes --json",
      .options = with_common({}),
      .most_words = 0,
      .run = list_nodes};
}

CommandSpec node_command_spec() {
  return {
      .name = "node",
      .usage = "show ID | drain ID | cordon ID | uncordon ID | rm ID | token",
      .summary = "show, drain, cordon, remove and invite nodes",
      .lesson =
          "Looks at one node of the cluster, and changes what it is used for. Needs an admin's key.\n\n"
          "  show ID        all that is known of a node\n"
          "  cordon ID      no new sandboxes there; what runs goes on\n"
          "  drain ID       the same, and it keeps no pools; what still runs there at the deadline is paused\n"
          "  uncordon ID    the end of both\n"
          "  rm ID          forget a node whose daemon is stopped, with the sandboxes it held\n"
          "  token          a secret with which one more node may join\n\n"
          "Prints the node's id when that is done; a drain goes on after it ('nanobox node show ID').\n\n"
          "  nanobox node drain --deadline 10m node-2\n"
          "  nanobox node rm node-2\n\n"
          "A token is good once, and until its lifetime is over. It belongs into a file that only its owner can\n"
          "read; where stdout is no terminal nothing else is printed:\n\n"
          "  nanobox node token | ssh HOST 'umask 077; cat >node.token'\n"
          "  ssh HOST nanoboxd --role node --join ADDRESS --token-file node.token    ADDRESS: 'join_addr' of --json",
      .options = with_common({{"deadline", 0, "TIME", "drain: when what is left is paused: 90, 90s, 10m, 1h (10m)"},
                              {"lifetime", 0, "TIME", "token: how long it is good: 90, 90s, 10m, 1h (1h)"}}),
      .least_words = 1,
      .check = check,
      .run = run};
}

}  // namespace nanobox::cli
