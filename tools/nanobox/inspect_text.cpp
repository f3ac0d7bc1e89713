#include "tools/nanobox/inspect_text.hpp"

#include <algorithm>

#include "config/byte_size.hpp"
#include "config/clock.hpp"
#include "tools/nanobox/json.hpp"
#include "tools/nanobox/table.hpp"

namespace nanobox::cli {
namespace {

/// Two columns: the name of a thing, and what it is. What is empty has no line.
class Lines {
public:
  Lines(std::string name, std::string text) : table_({std::move(name), std::move(text)}) {}
  void add(std::string name, std::string text) {
    if (!text.empty()) table_.add({std::move(name), std::move(text)});
  }
  std::string text() const { return table_.text(); }

private:
  Table table_;
};

std::string bytes_text(std::int64_t bytes) {
  return format_byte_size(static_cast<std::uint64_t>(std::max<std::int64_t>(bytes, 0)));
}

/// A number of milliseconds as a time; "" where there is none.
std::string milliseconds_text(const rapidjson::Value& object, std::string_view key) {
  const auto* time = json_member(object, key);
  return time != nullptr && time->IsInt64() ? duration_text(time->GetInt64()) : "";
}

std::string size_text(const rapidjson::Value& object) {
  const auto part = [&](std::string_view key) { return std::to_string(json_number_in(object, "resources", key)); };
  return part("vcpu") + " cpu, " + part("memory_mb") + " MiB memory, " + part("disk_mb") + " MiB disk";
}

std::string words_text(const rapidjson::Value& object, std::string_view key) {
  const auto* words = json_member(object, key);
  std::string text;
  if (words == nullptr || !words->IsArray()) return text;
  for (const auto& word : words->GetArray())
    if (word.IsString()) text += (text.empty() ? "" : ", ") + std::string(word.GetString(), word.GetStringLength());
  return text;
}

void add_network(Lines& lines, const rapidjson::Value& sandbox) {
  const auto* network = json_member(sandbox, "network");
  if (network == nullptr) return;
  auto mode = json_text(*network, "mode");
  if (const auto group = json_text(*network, "group"); !group.empty()) mode += ", group " + group;
  if (const auto rate = json_number(*network, "rate_limit_mbps"); rate > 0)
    mode += ", at most " + std::to_string(rate) + " Mbit/s";
  lines.add("network", mode);
  lines.add("  allows names", words_text(*network, "allow_domains"));
  lines.add("  allows", words_text(*network, "allow_cidrs"));
  lines.add("  denies", words_text(*network, "deny_cidrs"));
}

/// Names alone: values may be secrets, and --json has them.
std::string names_text(const rapidjson::Value& object, std::string_view key) {
  const auto* values = json_member(object, key);
  std::string text;
  if (values == nullptr || !values->IsObject()) return text;
  for (const auto& value : values->GetObject())
    text += (text.empty() ? "" : ", ") + std::string(value.name.GetString());
  return text;
}

void add_metadata(Lines& lines, const rapidjson::Value& sandbox) {
  const auto* values = json_member(sandbox, "metadata");
  if (values == nullptr || !values->IsObject()) return;
  std::string name = "metadata";
  for (const auto& value : values->GetObject())
    if (value.value.IsString()) {
      lines.add(name, std::string(value.name.GetString()) + "=" + value.value.GetString());
      name = "";
    }
}

std::string boot_text(const rapidjson::Value& sandbox) {
  const auto path = json_text(sandbox, "boot_path");
  const auto time = milliseconds_text(sandbox, "boot_time_ms");
  return path + (time.empty() ? "" : ", in " + time);
}

std::string expiry_text(const rapidjson::Value& sandbox) {
  const auto at = moment_text(json_text(sandbox, "expires_at"));
  if (at.empty()) return "";
  return at + ", then " + (json_text(sandbox, "on_timeout") == "pause" ? "it is paused" : "it is destroyed");
}

std::string lived_text(const rapidjson::Value& death) {
  const auto from = from_rfc3339(json_text(death, "created_at")), to = from_rfc3339(json_text(death, "ended_at"));
  return from && to ? duration_text((*to - *from) / std::chrono::milliseconds(1)) : "";
}

/// As exact as the server tells it.
std::string stage_time_text(const rapidjson::Value& stage) {
  const auto* exact = json_member(stage, "duration_us");
  if (exact == nullptr || !exact->IsInt64()) return milliseconds_text(stage, "duration_ms");
  const auto microseconds = exact->GetInt64();
  return microseconds < 10'000 ? std::to_string(microseconds) + " us" : duration_text(microseconds / 1000);
}

}  // namespace

std::string sandbox_text(const rapidjson::Value& sandbox) {
  Lines lines("sandbox", json_text(sandbox, "id"));
  lines.add("status", json_text(sandbox, "status"));
  lines.add("reason", json_text(sandbox, "reason"));
  lines.add("template", json_text(sandbox, "template"));
  lines.add("image", json_text(sandbox, "image_digest"));
  lines.add("node", json_text(sandbox, "node_id"));
  lines.add("size", size_text(sandbox));
  lines.add("vmm", json_text(sandbox, "vmm"));
  lines.add("address", json_text(sandbox, "ip"));
  lines.add("former address", json_text(sandbox, "former_ip"));
  add_network(lines, sandbox);
  lines.add("created", moment_text(json_text(sandbox, "created_at")));
  lines.add("expires", expiry_text(sandbox));
  lines.add("boot path", boot_text(sandbox));
  lines.add("state's age", milliseconds_text(sandbox, "state_age_ms"));
  lines.add("parent", json_text(sandbox, "parent"));
  if (const auto generation = json_number(sandbox, "generation"); generation > 0)
    lines.add("generation", std::to_string(generation));
  lines.add("last pause took", milliseconds_text(sandbox, "pause_ms"));
  lines.add("last resume took", milliseconds_text(sandbox, "restore_time_ms"));
  lines.add("variables", names_text(sandbox, "env"));
  add_metadata(lines, sandbox);
  return lines.text();
}

std::string death_text(const rapidjson::Value& death) {
  Lines lines("cause", json_text(death, "cause"));
  lines.add("reason", json_text(death, "reason"));
  lines.add("ended", moment_text(json_text(death, "ended_at")));
  lines.add("lived", lived_text(death));
  lines.add("sandbox", json_text(death, "id"));
  lines.add("template", json_text(death, "template"));
  lines.add("node", json_text(death, "node_id"));
  lines.add("size", size_text(death));
  lines.add("boot path", json_text(death, "boot_path"));
  if (const auto* usage = json_member(death, "usage"); usage != nullptr && usage->IsObject()) {
    lines.add("processor time", duration_text(json_number(*usage, "cpu_ms")));
    lines.add("most memory", bytes_text(json_number(*usage, "memory_peak_bytes")));
    lines.add("own disk", bytes_text(json_number(*usage, "disk_bytes")));
  }
  auto text = lines.text();
  std::string_view console;
  const auto whole = json_text(death, "console");
  for (console = whole; !console.empty() && console.back() == '\n';) console.remove_suffix(1);
  if (console.empty()) return text + "\nits console is empty, or was not seen\n";
  text += "\nthe console's last lines:\n";
  while (!console.empty()) {
    const auto line = console.substr(0, console.find('\n'));
    text += "  " + printable(line) + "\n";
    console.remove_prefix(std::min(console.size(), line.size() + 1));
  }
  return text;
}

std::string template_text(const rapidjson::Value& entry) {
  Lines lines("template", json_text(entry, "name"));
  lines.add("status", json_text(entry, "status"));
  if (const auto* error = json_member(entry, "error"); error != nullptr && error->IsObject())
    lines.add("error", json_text(*error, "code") + ": " + json_text(*error, "detail"));
  lines.add("image", json_text(entry, "image"));
  lines.add("digest", json_text(entry, "digest"));
  lines.add("platform", json_text(entry, "platform"));
  lines.add("size", size_text(entry));
  if (const auto used = json_number(entry, "rootfs_used_bytes"); used > 0) lines.add("root", bytes_text(used));
  if (const auto* snapshot = json_member(entry, "snapshot"); snapshot != nullptr && snapshot->IsObject())
    lines.add("snapshot", json_text(*snapshot, "status"));
  lines.add("made from", json_text(entry, "parent"));
  lines.add("sandboxes", std::to_string(json_number(entry, "sandboxes")));
  lines.add("created", moment_text(json_text(entry, "created_at")));
  lines.add("updated", moment_text(json_text(entry, "updated_at")));
  return lines.text();
}

std::string run_text(const rapidjson::Value& run) {
  const auto took = stage_time_text(run);
  std::string text = "last run: " + printable(json_text(run, "pipeline")) + ", " + printable(json_text(run, "status")) +
                     (took.empty() ? "" : " in " + took) + " (" + printable(json_text(run, "id")) + ")\n";
  const auto* stages = json_member(run, "stages");
  if (stages == nullptr || !stages->IsArray() || stages->Empty()) return text;
  Table table({"STAGE", "STATUS", "TIME", "DETAIL"});
  for (const auto& stage : stages->GetArray())
    table.add(
        {json_text(stage, "name"), json_text(stage, "status"), stage_time_text(stage), json_text(stage, "detail")});
  return text + table.text();
}

}  // namespace nanobox::cli
