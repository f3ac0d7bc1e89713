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

/// A command to run in a sandbox, and what became of it (api.md, exec).
struct ExecCommand {
  std::string command;
  std::vector<std::string> args;
  std::map<std::string, std::string> env;
  std::string cwd;   ///< empty: the image's
  std::string user;  ///< empty: the image's
  std::string stdin_bytes;
  std::uint64_t timeout_ms = 60'000;           ///< 0: none
  std::uint64_t max_output_bytes = 16U << 20;  ///< for each of stdout and stderr
};

struct ExecOutcome {
  std::int32_t exit_code = 0;
  std::int32_t signal = 0;  ///< 0: none
  std::string stdout_bytes;
  std::string stderr_bytes;
  bool timed_out = false;
  bool truncated = false;
  std::int64_t duration_ms = 0;
};

}  // namespace nanobox
