#include "config/byte_size.hpp"
#include "tools/nanobox/command.hpp"
#include "tools/nanobox/json.hpp"
#include "tools/nanobox/output.hpp"
#include "tools/nanobox/table.hpp"

namespace nanobox::cli {
namespace {

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
