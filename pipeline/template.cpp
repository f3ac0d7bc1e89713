#include "pipeline/template.hpp"

#include "pipeline/json_text.hpp"
#include "pipeline/resources_json.hpp"

namespace nanobox {

std::string_view to_string(TemplateStatus status) {
  switch (status) {
    case TemplateStatus::queued:
      return "queued";
    case TemplateStatus::running:
      return "running";
    case TemplateStatus::ready:
      return "ready";
    case TemplateStatus::failed:
      return "failed";
  }
  return "unknown";
}

std::string_view to_string(SnapshotStatus status) {
  switch (status) {
    case SnapshotStatus::none:
      return "none";
    case SnapshotStatus::making:
      return "making";
    case SnapshotStatus::ready:
      return "ready";
    case SnapshotStatus::failed:
      return "failed";
  }
  return "unknown";
}

namespace {

void put_prime(JsonWriter& json, const std::optional<Prime>& prime) {
  put(json, "prime");
  if (!prime) {
    json.Null();
    return;
  }
  json.StartObject();
  put_text(json, "command", prime->command);
  put_strings(json, "args", prime->args);
  put(json, "background");
  json.Bool(prime->background);
  put(json, "ready");
  if (prime->ready) {
    json.StartObject();
    if (!prime->ready->command.empty()) put_text(json, "command", prime->ready->command);
    if (prime->ready->port != 0) {
      put(json, "port");
      json.Uint(prime->ready->port);
    }
    put(json, "timeout_ms");
    json.Uint(prime->ready->timeout_ms);
    json.EndObject();
  } else {
    json.Null();
  }
  json.EndObject();
}

std::optional<Prime> prime_at(const rapidjson::Value& object) {
  const auto found = object.FindMember("prime");
  if (found == object.MemberEnd() || !found->value.IsObject()) return std::nullopt;
  const auto& value = found->value;
  Prime prime{.command = text_at(value, "command"),
              .args = strings_at(value, "args"),
              .background = value.HasMember("background") && value["background"].IsTrue(),
              .ready = std::nullopt};
  if (value.HasMember("ready") && value["ready"].IsObject())
    prime.ready = Prime::Ready{.command = text_at(value["ready"], "command"),
                               .port = static_cast<std::uint16_t>(number_at(value["ready"], "port")),
                               .timeout_ms = static_cast<std::uint32_t>(number_at(value["ready"], "timeout_ms"))};
  return prime;
}

/// The members that the API's form and the store's have in common.
void put_template(JsonWriter& json, const Template& entry) {
  put_text(json, "name", entry.name);
  put_text(json, "image", entry.image);
  put_text_or_null(json, "digest", entry.digest);
  put_text(json, "platform",
           entry.platform.os + "/" + entry.platform.architecture +
               (entry.platform.variant.empty() ? "" : "/" + entry.platform.variant));
  put_text(json, "status", to_string(entry.status));
  put_text_or_null(json, "operation_id", entry.operation_id);
  put_error(json, "error", entry.error);
  put(json, "layers");
  json.StartArray();
  for (const auto& layer : entry.layers) {
    json.StartObject();
    put_text(json, "digest", layer.digest);
    put_text(json, "media_type", layer.media_type);
    put(json, "size_bytes");
    json.Uint64(layer.size);
    json.EndObject();
  }
  json.EndArray();
  put(json, "rootfs_size_bytes");
  json.Uint64(entry.rootfs.size_bytes);
  put(json, "rootfs_used_bytes");
  json.Uint64(entry.rootfs.used_bytes);
  put_text_or_null(json, "rootfs_identity", entry.rootfs.identity);
  put(json, "config");
  json.StartObject();
  put_strings(json, "env", entry.config.env);
  put_strings(json, "entrypoint", entry.config.entrypoint);
  put_strings(json, "cmd", entry.config.cmd);
  put_text(json, "workdir", entry.config.working_dir);
  put_text(json, "user", entry.config.user);
  json.EndObject();
  put_resources(json, entry.resources);
  put(json, "sshd");
  json.Bool(entry.sshd);
  put_prime(json, entry.prime);
  put_text_or_null(json, "parent", entry.parent);
  put_time(json, "created_at", entry.created_at);
  put_time(json, "updated_at", entry.updated_at);
}

Platform platform_of(std::string_view text) {
  Platform platform;
  const auto first = text.find('/');
  if (first == std::string_view::npos) return platform;
  platform.os = text.substr(0, first);
  const auto second = text.find('/', first + 1);
  platform.architecture = text.substr(first + 1, second == std::string_view::npos ? second : second - first - 1);
  if (second != std::string_view::npos) platform.variant = text.substr(second + 1);
  return platform;
}

}  // namespace

std::string to_json(const Template& entry, std::size_t sandboxes) {
  rapidjson::StringBuffer buffer;
  JsonWriter json(buffer);
  json.StartObject();
  put_template(json, entry);
  put(json, "snapshot");
  json.StartObject();
  put_text(json, "status", to_string(entry.snapshot_status));
  put_error(json, "error", entry.snapshot_error);
  json.EndObject();
  put(json, "sandboxes");
  json.Uint64(sandboxes);
  json.EndObject();
  return buffer.GetString();
}

std::string to_record(const Template& entry) {
  rapidjson::StringBuffer buffer;
  JsonWriter json(buffer);
  json.StartObject();
  put_template(json, entry);
  put_text(json, "owner", entry.owner);
  put_text(json, "rootfs_path", entry.rootfs.image_path.string());
  put(json, "rootfs_entries");
  json.Uint64(entry.rootfs.entries);
  put(json, "snapshot_wanted");
  json.Bool(entry.snapshot);
  put(json, "served");
  json.Bool(entry.served);
  put_text(json, "disk", entry.disk.native());
  put_text(json, "snapshot_status", to_string(entry.snapshot_status));
  put_text(json, "snapshot_key", entry.snapshot_key);
  put_error(json, "snapshot_error", entry.snapshot_error);
  json.EndObject();
  return buffer.GetString();
}

std::optional<Template> template_from_record(std::string_view text) {
  rapidjson::Document json;
  json.Parse<rapidjson::kParseValidateEncodingFlag | rapidjson::kParseIterativeFlag>(text.data(), text.size());
  if (json.HasParseError() || !json.IsObject()) return std::nullopt;
  Template entry;
  entry.name = text_at(json, "name");
  entry.owner = text_at(json, "owner");
  entry.image = text_at(json, "image");
  entry.digest = text_at(json, "digest");
  entry.platform = platform_of(text_at(json, "platform"));
  const auto status = text_at(json, "status");
  entry.status = status == "ready" ? TemplateStatus::ready : TemplateStatus::failed;
  entry.operation_id = text_at(json, "operation_id");
  if (json.HasMember("error")) entry.error = error_from_json(json["error"]);
  if (json.HasMember("layers") && json["layers"].IsArray())
    for (const auto& layer : json["layers"].GetArray())
      if (layer.IsObject())
        entry.layers.push_back({.media_type = text_at(layer, "media_type"),
                                .digest = text_at(layer, "digest"),
                                .size = number_at(layer, "size_bytes"),
                                .urls = {}});
  if (json.HasMember("config") && json["config"].IsObject()) {
    const auto& config = json["config"];
    entry.config.platform = entry.platform;
    entry.config.env = strings_at(config, "env");
    entry.config.entrypoint = strings_at(config, "entrypoint");
    entry.config.cmd = strings_at(config, "cmd");
    entry.config.working_dir = text_at(config, "workdir");
    entry.config.user = text_at(config, "user");
  }
  if (json.HasMember("resources") && json["resources"].IsObject()) {
    const auto& resources = json["resources"];
    entry.resources = {.vcpu = static_cast<std::uint32_t>(number_at(resources, "vcpu", 1)),
                       .memory_mb = static_cast<std::uint32_t>(number_at(resources, "memory_mb", 512)),
                       .disk_mb = static_cast<std::uint32_t>(number_at(resources, "disk_mb", 2048))};
  }
  entry.rootfs = {.identity = text_at(json, "rootfs_identity"),
                  .image_path = text_at(json, "rootfs_path"),
                  .size_bytes = number_at(json, "rootfs_size_bytes"),
                  .used_bytes = number_at(json, "rootfs_used_bytes"),
                  .entries = number_at(json, "rootfs_entries")};
  entry.snapshot = !json.HasMember("snapshot_wanted") || json["snapshot_wanted"].IsTrue();
  entry.served = !json.HasMember("served") || json["served"].IsTrue();
  entry.prime = prime_at(json);
  entry.parent = text_at(json, "parent");
  entry.disk = text_at(json, "disk");
  entry.snapshot_key = text_at(json, "snapshot_key");
  const auto snapshot = text_at(json, "snapshot_status");
  for (const auto known : {SnapshotStatus::ready, SnapshotStatus::failed})
    if (to_string(known) == snapshot) entry.snapshot_status = known;
  if (json.HasMember("snapshot_error")) entry.snapshot_error = error_from_json(json["snapshot_error"]);
  entry.sshd = json.HasMember("sshd") && json["sshd"].IsTrue();
  entry.created_at = from_rfc3339(text_at(json, "created_at")).value_or(WallTime{});
  entry.updated_at = from_rfc3339(text_at(json, "updated_at")).value_or(WallTime{});
  return entry;
}

}  // namespace nanobox
