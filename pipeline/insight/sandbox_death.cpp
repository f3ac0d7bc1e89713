#include "pipeline/insight/sandbox_death.hpp"

#include "pipeline/json_text.hpp"
#include "pipeline/record_fields.hpp"
#include "pipeline/resources_json.hpp"

namespace nanobox {

std::string_view to_string(DeathCause cause) {
  switch (cause) {
    case DeathCause::asked:
      return "asked";
    case DeathCause::expired:
      return "expired";
    case DeathCause::vm_exit:
      return "vm_exit";
    case DeathCause::out_of_memory:
      return "out_of_memory";
    case DeathCause::kernel_panic:
      return "kernel_panic";
    case DeathCause::node_lost:
      return "node_lost";
    case DeathCause::shutdown:
      return "shutdown";
    case DeathCause::failed:
      return "failed";
  }
  return "unknown";
}

namespace {

void write_usage(JsonWriter& json, const std::optional<SandboxUsage>& usage) {
  put(json, "usage");
  if (!usage) {
    json.Null();
    return;
  }
  json.StartObject();
  put(json, "wall_ms");
  json.Int64(usage->wall_ms);
  put(json, "cpu_ms");
  json.Int64(usage->cpu_ms);
  put(json, "memory_peak_bytes");
  json.Uint64(usage->memory_peak_bytes);
  put(json, "disk_bytes");
  json.Uint64(usage->disk_bytes);
  json.EndObject();
}

}  // namespace

std::string to_json(const SandboxDeath& death) {
  rapidjson::StringBuffer buffer;
  JsonWriter json(buffer);
  json.StartObject();
  put_text(json, "id", death.id);
  put_text(json, "owner", death.owner);
  put_text(json, "template", death.template_name);
  put_text(json, "node_id", death.node_id);
  put_text(json, "cause", to_string(death.cause));
  put_text(json, "reason", death.reason);
  put_text(json, "boot_path", death.boot_path);
  put_resources(json, death.resources);
  put_time(json, "created_at", death.created_at);
  put_time(json, "ended_at", death.ended_at);
  put_text(json, "console", death.console);
  write_usage(json, death.usage);
  json.EndObject();
  return buffer.GetString();
}

std::string death_to_record(const SandboxDeath& death) {
  return write_fields(death);
}

std::optional<SandboxDeath> death_from_record(std::string_view json) {
  return read_fields<SandboxDeath>(json);
}

}  // namespace nanobox
