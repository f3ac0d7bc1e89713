#pragma once

#include "http/json/reader.hpp"
#include "pipeline/template.hpp"

namespace nanobox::http {

/// Reads the field "resources" with the contract's limits; what is not given is `otherwise`.
inline Resources read_resources(json::ObjectReader& body, Resources otherwise) {
  body.object("resources", [&](json::ObjectReader& resources) {
    const auto or_else = [](const std::optional<std::int64_t>& value, std::uint32_t number) {
      return value ? static_cast<std::uint32_t>(*value) : number;
    };
    otherwise.vcpu = or_else(resources.integer("vcpu", 1, 32), otherwise.vcpu);
    otherwise.memory_mb = or_else(resources.integer("memory_mb", 64, 65536), otherwise.memory_mb);
    otherwise.disk_mb = or_else(resources.integer("disk_mb", 1, 1 << 20), otherwise.disk_mb);
  });
  return otherwise;
}

}  // namespace nanobox::http
