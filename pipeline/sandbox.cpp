#include "pipeline/sandbox.hpp"

#include "pipeline/json_text.hpp"
#include "pipeline/resources_json.hpp"

namespace nanobox {

std::string_view to_string(SandboxStatus status) {
  switch (status) {
    case SandboxStatus::creating:
      return "creating";
    case SandboxStatus::running:
      return "running";
    case SandboxStatus::pausing:
      return "pausing";
    case SandboxStatus::paused:
      return "paused";
    case SandboxStatus::resuming:
      return "resuming";
    case SandboxStatus::stopping:
      return "stopping";
    case SandboxStatus::failed:
      return "failed";
    case SandboxStatus::lost:
      return "lost";
  }
  return "unknown";
}

namespace {

void put_map(JsonWriter& json, std::string_view key, const std::map<std::string, std::string>& values) {
  put(json, key);
  json.StartObject();
  for (const auto& [name, value] : values) put_text(json, name, value);
  json.EndObject();
}

std::map<std::string, std::string> map_at(const rapidjson::Value& object, const char* key) {
  std::map<std::string, std::string> values;
  const auto found = object.FindMember(key);
  if (found == object.MemberEnd() || !found->value.IsObject()) return values;
  for (const auto& member : found->value.GetObject())
    if (member.value.IsString())
      values.emplace(std::string(member.name.GetString(), member.name.GetStringLength()),
                     std::string(member.value.GetString(), member.value.GetStringLength()));
  return values;
}

void put_number_or_null(JsonWriter& json, std::string_view key, const std::optional<std::int64_t>& value) {
  put(json, key);
  if (value)
    json.Int64(*value);
  else
    json.Null();
}

std::optional<std::int64_t> optional_number_at(const rapidjson::Value& object, const char* key) {
  const auto found = object.FindMember(key);
  if (found == object.MemberEnd() || !found->value.IsInt64()) return std::nullopt;
  return found->value.GetInt64();
}

std::vector<std::string> names_of(const std::vector<std::filesystem::path>& paths) {
  return {paths.begin(), paths.end()};
}

void put_sandbox(JsonWriter& json, const Sandbox& sandbox) {
  put_text(json, "id", sandbox.id);
  put_text(json, "template", sandbox.template_name);
  put_text(json, "image_digest", sandbox.image_digest);
  put_text(json, "status", to_string(sandbox.status));
  put_text_or_null(json, "reason", sandbox.reason);
  put_text(json, "node_id", sandbox.node_id);
  put_text_or_null(json, "ip", sandbox.ip.value_or(""));
  if (sandbox.former_ip) put_text(json, "former_ip", *sandbox.former_ip);
  put_resources(json, sandbox.resources);
  put(json, "network");
  json.StartObject();
  put_text(json, "mode", sandbox.network.mode);
  put_text_or_null(json, "group", sandbox.network.group);
  put(json, "rate_limit_mbps");
  json.Uint(sandbox.network.rate_limit_mbps);
  put_strings(json, "allow_domains", sandbox.network.allow_domains);
  put_strings(json, "allow_cidrs", sandbox.network.allow_cidrs);
  put_strings(json, "deny_cidrs", sandbox.network.deny_cidrs);
  json.EndObject();
  put_map(json, "env", sandbox.env);
  put_map(json, "metadata", sandbox.metadata);
  put_text(json, "boot_path", sandbox.boot_path);
  put_number_or_null(json, "boot_time_ms", sandbox.boot_time_ms);
  put(json, "generation");
  json.Uint64(sandbox.generation);
  put_number_or_null(json, "state_age_ms", sandbox.state_age_ms);
  put_text_or_null(json, "parent", sandbox.parent);
  if (sandbox.pause_ms) put_number_or_null(json, "pause_ms", sandbox.pause_ms);
  if (sandbox.restore_time_ms) put_number_or_null(json, "restore_time_ms", sandbox.restore_time_ms);
  put(json, "timeout_sec");
  json.Uint(sandbox.timeout_sec);
  put_text(json, "on_timeout", sandbox.on_timeout);
  put_time(json, "created_at", sandbox.created_at);
  put_time(json, "expires_at", sandbox.expires_at);
  put_text_or_null(json, "vmm", sandbox.vmm);
}

}  // namespace

std::string to_json(const Sandbox& sandbox) {
  rapidjson::StringBuffer buffer;
  JsonWriter json(buffer);
  json.StartObject();
  put_sandbox(json, sandbox);
  json.EndObject();
  return buffer.GetString();
}

std::string to_record(const Sandbox& sandbox) {
  rapidjson::StringBuffer buffer;
  JsonWriter json(buffer);
  json.StartObject();
  put_sandbox(json, sandbox);
  put_text(json, "owner", sandbox.owner);
  put_text(json, "rootfs_identity", sandbox.rootfs_identity);
  put_text(json, "rootfs_path", sandbox.rootfs_path);
  put_strings(json, "image_env", sandbox.image.env);
  put_text(json, "image_workdir", sandbox.image.working_dir);
  put_text(json, "image_user", sandbox.image.user);
  put_text(json, "snapshot", sandbox.lineage.snapshot.native());
  put_text(json, "memory_layer", sandbox.lineage.memory_layer.native());
  put_strings(json, "disk_layers", names_of(sandbox.lineage.disk_layers));
  put_text(json, "paused_state", sandbox.lineage.paused_state.native());
  put_time(json, "failed_at", sandbox.failed_at);
  put(json, "revision");
  json.Uint64(sandbox.revision);
  json.EndObject();
  return buffer.GetString();
}

std::optional<Sandbox> sandbox_from_record(std::string_view text) {
  rapidjson::Document json;
  json.Parse<rapidjson::kParseValidateEncodingFlag | rapidjson::kParseIterativeFlag>(text.data(), text.size());
  if (json.HasParseError() || !json.IsObject()) return std::nullopt;
  Sandbox sandbox;
  sandbox.id = text_at(json, "id");
  sandbox.owner = text_at(json, "owner");
  sandbox.template_name = text_at(json, "template");
  sandbox.image_digest = text_at(json, "image_digest");
  sandbox.rootfs_identity = text_at(json, "rootfs_identity");
  sandbox.rootfs_path = text_at(json, "rootfs_path");
  const auto status = text_at(json, "status");
  sandbox.status = SandboxStatus::failed;
  for (const auto known : {SandboxStatus::creating, SandboxStatus::running, SandboxStatus::pausing,
                           SandboxStatus::paused, SandboxStatus::resuming, SandboxStatus::stopping})
    if (to_string(known) == status) sandbox.status = known;
  sandbox.reason = text_at(json, "reason");
  sandbox.node_id = text_at(json, "node_id");
  if (json.HasMember("resources") && json["resources"].IsObject()) {
    const auto& resources = json["resources"];
    sandbox.resources = {.vcpu = static_cast<std::uint32_t>(number_at(resources, "vcpu", 1)),
                         .memory_mb = static_cast<std::uint32_t>(number_at(resources, "memory_mb", 512)),
                         .disk_mb = static_cast<std::uint32_t>(number_at(resources, "disk_mb", 2048))};
  }
  if (json.HasMember("network") && json["network"].IsObject()) {
    const auto& network = json["network"];
    sandbox.network = {.mode = text_at(network, "mode"),
                       .group = text_at(network, "group"),
                       .rate_limit_mbps = static_cast<std::uint32_t>(number_at(network, "rate_limit_mbps", 0)),
                       .allow_domains = strings_at(network, "allow_domains"),
                       .allow_cidrs = strings_at(network, "allow_cidrs"),
                       .deny_cidrs = strings_at(network, "deny_cidrs")};
  }
  if (auto ip = text_at(json, "ip"); !ip.empty()) sandbox.ip = std::move(ip);
  if (auto ip = text_at(json, "former_ip"); !ip.empty()) sandbox.former_ip = std::move(ip);
  sandbox.env = map_at(json, "env");
  sandbox.metadata = map_at(json, "metadata");
  sandbox.boot_path = text_at(json, "boot_path");
  sandbox.boot_time_ms = optional_number_at(json, "boot_time_ms");
  sandbox.state_age_ms = optional_number_at(json, "state_age_ms");
  sandbox.pause_ms = optional_number_at(json, "pause_ms");
  sandbox.restore_time_ms = optional_number_at(json, "restore_time_ms");
  sandbox.parent = text_at(json, "parent");
  sandbox.image.env = strings_at(json, "image_env");
  sandbox.image.working_dir = text_at(json, "image_workdir");
  sandbox.image.user = text_at(json, "image_user");
  sandbox.lineage.snapshot = text_at(json, "snapshot");
  sandbox.lineage.memory_layer = text_at(json, "memory_layer");
  for (auto& layer : strings_at(json, "disk_layers")) sandbox.lineage.disk_layers.emplace_back(std::move(layer));
  sandbox.lineage.paused_state = text_at(json, "paused_state");
  sandbox.generation = number_at(json, "generation");
  sandbox.timeout_sec = static_cast<std::uint32_t>(number_at(json, "timeout_sec", 300));
  sandbox.on_timeout = text_at(json, "on_timeout");
  sandbox.vmm = text_at(json, "vmm");
  sandbox.created_at = from_rfc3339(text_at(json, "created_at")).value_or(WallTime{});
  sandbox.expires_at = from_rfc3339(text_at(json, "expires_at"));
  sandbox.failed_at = from_rfc3339(text_at(json, "failed_at"));
  sandbox.revision = number_at(json, "revision");
  return sandbox;
}

}  // namespace nanobox
