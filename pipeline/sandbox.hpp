#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "config/clock.hpp"
#include "config/error.hpp"
#include "pipeline/template.hpp"

namespace nanobox {

enum class SandboxStatus : std::uint8_t { creating = 1, running, stopping, failed };
std::string_view to_string(SandboxStatus status);

/// A sandbox as the API shows it (api.md, Sandboxes).
struct Sandbox {
  std::string id;
  std::string owner;
  std::string template_name;
  std::string image_digest;
  std::string rootfs_identity;
  std::string rootfs_path;
  SandboxStatus status = SandboxStatus::creating;
  std::string reason;  ///< why it is `failed`
  std::string node_id;
  Resources resources;
  std::string network_mode = "isolated";
  std::map<std::string, std::string> env;
  std::map<std::string, std::string> metadata;
  std::string boot_path = "cold";
  std::optional<std::int64_t> boot_time_ms;
  std::uint64_t generation = 0;
  std::uint32_t timeout_sec = 300;
  std::string on_timeout = "destroy";
  std::string vmm;
  WallTime created_at{};
  std::optional<WallTime> expires_at;
  std::optional<WallTime> failed_at;
};

std::string to_json(const Sandbox& sandbox);
std::string to_record(const Sandbox& sandbox);
std::optional<Sandbox> sandbox_from_record(std::string_view json);

}  // namespace nanobox
