#include "config/byte_size.hpp"
#include "tools/nanobox/command.hpp"
#include "tools/nanobox/json.hpp"
#include "tools/nanobox/listing.hpp"
#include "tools/nanobox/output.hpp"
#include "tools/nanobox/table.hpp"

namespace nanobox::cli {
namespace {

/// "512 of 4096 MiB".
std::string used_text(const rapidjson::Value& node, std::string_view what) {
  const auto* resources = json_member(node, "resources");
  if (resources == nullptr) return "";
  return std::to_string(json_number_in(*resources, "used", what)) + " of " +
         std::to_string(json_number_in(*resources, "total", what)) + " MiB";
}

Result<int> list_nodes(Session& session) {
  const auto server = NANOBOX_TRY(session.server());
  ApiClient client(server.address, &session.interruption);
  if (session.json()) {
    NANOBOX_TRY(print_json(NANOBOX_TRY(whole_list(client, "/api/v1/nodes"))));
    return 0;
  }
  Table table({"NODE", "STATUS", "VMM", "SANDBOXES", "TEMPLATES", "MEMORY", "DISK", "HEARD", "REASON"});
  NANOBOX_TRY(each_item(client, "/api/v1/nodes", [&](const rapidjson::Value& node) {
    table.add({json_text(node, "id"), json_text(node, "status"), json_text(node, "vmm"),
               std::to_string(json_number(node, "sandboxes")), std::to_string(json_number(node, "templates")),
               used_text(node, "memory_mb"), used_text(node, "disk_mb"), age_text(json_text(node, "last_heartbeat_at")),
               json_text(node, "reason")});
  }));
  NANOBOX_TRY(print_text(table.text()));
  return 0;
}

Result<int> show_stats(Session& session) {
  const auto server = NANOBOX_TRY(session.server());
  ApiClient client(server.address, &session.interruption);
  const auto answer = NANOBOX_TRY(client.ask({.method = "GET", .path = "/api/v1/stats"}));
  if (session.json()) {
    NANOBOX_TRY(print_json(answer.body));
    return 0;
  }
  const auto stats = answer.json();
  Table table({"WHAT", "COUNT"});
  table.add({"nodes", std::to_string(json_number(stats, "nodes"))});
  table.add({"templates", std::to_string(json_number(stats, "templates"))});
  if (const auto* states = json_member(stats, "sandboxes"); states != nullptr && states->IsObject())
    for (const auto& state : states->GetObject())
      if (state.value.IsInt64())
        table.add({"sandboxes " + std::string(state.name.GetString()), std::to_string(state.value.GetInt64())});
  if (const auto* pools = json_member(stats, "pools"); pools != nullptr && pools->IsArray())
    for (const auto& pool : pools->GetArray())
      table.add({"pool " + json_text(pool, "template"), std::to_string(json_number(pool, "ready")) + " ready"});
  for (const char* size : {"cache_bytes", "snapshot_bytes"})
    table.add({size == std::string_view("cache_bytes") ? "cache" : "snapshots",
               format_byte_size(static_cast<std::uint64_t>(json_number(stats, size)))});
  NANOBOX_TRY(print_text(table.text()));
  return 0;
}

}  // namespace

CommandSpec nodes_command_spec() {
  return {
      .name = "nodes",
      .usage = "",
      .summary = "list nodes",
      .lesson =
          "Shows the nodes of the cluster, what they hold and whether they take sandboxes. Needs an admin's key.\n\n"
          "  nanobox nodes",
      .options = with_common({}),
      .most_words = 0,
      .run = list_nodes};
}

CommandSpec stats_command_spec() {
  return {.name = "stats",
          .usage = "",
          .summary = "count sandboxes, templates and bytes",
          .lesson = "Counts what the server holds.\n\n  nanobox stats\n  nanobox stats --json",
          .options = with_common({}),
          .most_words = 0,
          .run = show_stats};
}

}  // namespace nanobox::cli
