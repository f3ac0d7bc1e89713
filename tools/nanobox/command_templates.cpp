#include <rapidjson/prettywriter.h>

#include "config/byte_size.hpp"
#include "tools/nanobox/command.hpp"
#include "tools/nanobox/json.hpp"
#include "tools/nanobox/listing.hpp"
#include "tools/nanobox/output.hpp"
#include "tools/nanobox/table.hpp"

namespace nanobox::cli {
namespace {

std::string template_path(const std::string& name) {
  return "/api/v1/templates/" + url_encode(name);
}

Result<int> list(Session& session, ApiClient& client) {
  const std::string path = "/api/v1/templates";
  if (session.json()) {
    NANOBOX_TRY(print_json(NANOBOX_TRY(whole_list(client, path))));
    return 0;
  }
  Table table({"TEMPLATE", "STATUS", "IMAGE", "DIGEST", "SIZE", "SANDBOXES"});
  NANOBOX_TRY(each_item(client, path, [&](const rapidjson::Value& entry) {
    const auto digest = json_text(entry, "digest");
    const auto bytes = json_number(entry, "rootfs_used_bytes");
    table.add({json_text(entry, "name"), json_text(entry, "status"), json_text(entry, "image"),
               digest.substr(digest.starts_with("sha256:") ? 7 : 0, 12),
               bytes > 0 ? format_byte_size(static_cast<std::uint64_t>(bytes)) : "",
               std::to_string(json_number(entry, "sandboxes"))});
  }));
  NANOBOX_TRY(print_text(table.text()));
  return 0;
}

Result<int> show(Session& session, ApiClient& client, const std::string& name) {
  const auto answer = NANOBOX_TRY(client.ask({.method = "GET", .path = template_path(name)}));
  if (session.json()) {
    NANOBOX_TRY(print_json(answer.body));
    return 0;
  }
  rapidjson::StringBuffer buffer;
  rapidjson::PrettyWriter<rapidjson::StringBuffer> json(buffer);
  json.SetIndent(' ', 2);
  answer.json().Accept(json);
  NANOBOX_TRY(print_json(buffer.GetString()));
  return 0;
}

Result<int> remove(Session& session, ApiClient& client) {
  const auto& words = session.arguments.words;
  for (std::size_t at = 1; at < words.size(); ++at) {
    NANOBOX_TRY(client.ask({.method = "DELETE",
                            .path = template_path(words[at]) + (session.arguments.has("force") ? "?force=1" : ""),
                            .body = "",
                            .patience = std::chrono::seconds{60}}));
    NANOBOX_TRY(print_text(words[at] + "\n"));
  }
  return 0;
}

Result<int> run(Session& session) {
  const auto& words = session.arguments.words;
  const bool shows = words.size() == 2 && words[0] == "show";
  const bool removes = words.size() >= 2 && words[0] == "rm";
  if (!words.empty() && !shows && !removes)
    return fail({.code = ErrorCode::invalid_value,
                 .attempted = "read command line",
                 .subject = words[0],
                 .reason = "it is not understood",
                 .mend = "write 'templates', 'templates show NAME' or 'templates rm NAME…'"});
  const auto server = NANOBOX_TRY(session.server());
  ApiClient client(server.address, &session.interruption);
  if (shows) return show(session, client, words[1]);
  return removes ? remove(session, client) : list(session, client);
}

}  // namespace

CommandSpec templates_command_spec() {
  return {.name = "templates",
          .usage = "[show NAME | rm NAME…]",
          .summary = "list, show and remove templates",
          .lesson =
              "Shows what sandboxes can be made from. 'rm' refuses while sandboxes stand on a template;\n"
              "with --force its name goes at once and its files with the last of them.\n\n"
              "  nanobox templates\n"
              "  nanobox templates show node22\n"
              "  nanobox templates rm node22",
          .options = with_common({{"force", 0, "", "rm: although sandboxes stand on it"}}),
          .run = run};
}

}  // namespace nanobox::cli
