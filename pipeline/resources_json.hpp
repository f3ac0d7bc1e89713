#pragma once

#include "pipeline/json_text.hpp"
#include "pipeline/template.hpp"

namespace nanobox {

/// A size as the API and the store show it: "resources": {"vcpu", "memory_mb", "disk_mb"}.
inline void put_resources(JsonWriter& json, const Resources& resources) {
  put(json, "resources");
  json.StartObject();
  put(json, "vcpu");
  json.Uint(resources.vcpu);
  put(json, "memory_mb");
  json.Uint(resources.memory_mb);
  put(json, "disk_mb");
  json.Uint(resources.disk_mb);
  json.EndObject();
}

}  // namespace nanobox
