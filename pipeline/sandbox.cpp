#include "pipeline/sandbox.hpp"

#include "pipeline/json_text.hpp"

namespace nanobox {

std::string_view to_string(SandboxStatus status) {
  switch (status) {
    case SandboxStatus::creating:
      return "creating";
    case SandboxStatus::running:
      return "running";
    case SandboxStatus::stopping:
      return "stopping";
    case SandboxStatus::failed:
      return "failed";
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

void put_sandbox(JsonWriter& json, const Sandbox& sandbox) {
  put_text(json, "id", sandbox.id);
  put_text(json, "template", sandbox.template_name);
  put_text(json, "image_digest", sandbox.image_digest);
  put_text(json, "status", to_string(sandbox.status));
  put_text_or_null(json, "reason", sandbox.reason);
  put_text(json, "node_id", sandbox.node_id);
  put(json, "ip");
  json.Null();
  put(json, "resources");
  json.StartObject();
  put(json, "vcpu");
  json.Uint(sandbox.resources.vcpu);
  put(json, "memory_mb");
  json.Uint(sandbox.resources.memory_mb);
  put(json, "disk_mb");
  json.Uint(sandbox.resources.disk_mb);
  json.EndObject();
  put(json, "network");
  json.StartObject();
  put_text(json, "mode", sandbox.network_mode);
  json.EndObject();
  put_map(json, "env", sandbox.env);
  put_map(json, "metadata", sandbox.metadata);
  put_text(json, "boot_path", sandbox.boot_path);
  put(json, "boot_time_ms");
  if (sandbox.boot_time_ms)
    json.Int64(*sandbox.boot_time_ms);
  else
    json.Null();
  put(json, "generation");
  json.Uint64(sandbox.generation);
  put(json, "state_age_ms");
  json.Null();
  put(json, "parent");
  json.Null();
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
  put_time(json, "failed_at", sandbox.failed_at);
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
  sandbox.status = status == "creating"   ? SandboxStatus::creating
                   : status == "running"  ? SandboxStatus::running
                   : status == "stopping" ? SandboxStatus::stopping
                                          : SandboxStatus::failed;
  sandbox.reason = text_at(json, "reason");
  sandbox.node_id = text_at(json, "node_id");
  if (json.HasMember("resources") && json["resources"].IsObject()) {
    const auto& resources = json["resources"];
    sandbox.resources = {.vcpu = static_cast<std::uint32_t>(number_at(resources, "vcpu", 1)),
                         .memory_mb = static_cast<std::uint32_t>(number_at(resources, "memory_mb", 512)),
                         .disk_mb = static_cast<std::uint32_t>(number_at(resources, "disk_mb", 2048))};
  }
  if (json.HasMember("network") && json["network"].IsObject()) sandbox.network_mode = text_at(json["network"], "mode");
  sandbox.env = map_at(json, "env");
  sandbox.metadata = map_at(json, "metadata");
  sandbox.boot_path = text_at(json, "boot_path");
  if (json.HasMember("boot_time_ms") && json["boot_time_ms"].IsInt64())
    sandbox.boot_time_ms = json["boot_time_ms"].GetInt64();
  sandbox.generation = number_at(json, "generation");
  sandbox.timeout_sec = static_cast<std::uint32_t>(number_at(json, "timeout_sec", 300));
  sandbox.on_timeout = text_at(json, "on_timeout");
  sandbox.vmm = text_at(json, "vmm");
  sandbox.created_at = from_rfc3339(text_at(json, "created_at")).value_or(WallTime{});
  sandbox.expires_at = from_rfc3339(text_at(json, "expires_at"));
  sandbox.failed_at = from_rfc3339(text_at(json, "failed_at"));
  return sandbox;
}

}  // namespace nanobox
