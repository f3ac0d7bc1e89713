#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/clock.hpp"
#include "config/error.hpp"
#include "pipeline/template.hpp"

namespace nanobox {

/// `lost` is the control plane's word for one whose node is away.
enum class SandboxStatus : std::uint8_t { creating = 1, running, pausing, paused, resuming, stopping, failed, lost };
std::string_view to_string(SandboxStatus status);

/// Whether its processes are kept, but cannot run now.
inline bool is_paused(SandboxStatus status) {
  return status == SandboxStatus::pausing || status == SandboxStatus::paused || status == SandboxStatus::resuming;
}

/// What a sandbox' memory and disk stand on: nothing of it may go while the sandbox is there.
struct SandboxLineage {
  std::filesystem::path snapshot;                  ///< the template snapshot's folder; empty: it booted cold
  std::filesystem::path memory_layer;              ///< pages over the snapshot's memory, from a fork or pause
  std::vector<std::filesystem::path> disk_layers;  ///< frozen overlays below its own, bottom first
  std::filesystem::path paused_state;              ///< the folder of the last pause; while running it may be stale
  bool operator==(const SandboxLineage&) const = default;
};

/// What a sandbox may reach, as it was asked for (api.md, `network`).
struct SandboxNetwork {
  std::string mode = "isolated";           ///< isolated, internal, internet
  std::string group;                       ///< of `internal`, among those of its owner; empty: the owner's own
  std::uint32_t rate_limit_mbps = 0;       ///< each direction; 0: none
  std::vector<std::string> allow_domains;  ///< these three with `internet` only
  std::vector<std::string> allow_cidrs;
  std::vector<std::string> deny_cidrs;
  bool operator==(const SandboxNetwork&) const = default;
};

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
  std::optional<std::string> ip;         ///< in [network] subnet; none where the host can make no interface
  std::optional<std::string> former_ip;  ///< before the last resume, which found it taken
  SandboxNetwork network;
  std::map<std::string, std::string> env;
  std::map<std::string, std::string> metadata;
  std::string boot_path = "cold";
  std::optional<std::int64_t> boot_time_ms;
  ImageConfig image;                            ///< what commands get that do not say otherwise
  std::uint64_t generation = 0;                 ///< how often this guest was copied or came back
  std::optional<std::int64_t> state_age_ms;     ///< how old the state was that it came from
  std::string parent;                           ///< the sandbox it was forked from
  std::optional<std::int64_t> pause_ms;         ///< of the last pause
  std::optional<std::int64_t> restore_time_ms;  ///< of the last resume
  SandboxLineage lineage;
  std::uint32_t timeout_sec = 300;
  std::string on_timeout = "destroy";
  std::string vmm;
  std::uint64_t revision = 0;  ///< grows with each change that its node notes
  WallTime created_at{};
  std::optional<WallTime> expires_at;
  std::optional<WallTime> failed_at;
  bool operator==(const Sandbox&) const = default;
};

std::string to_json(const Sandbox& sandbox);
std::string to_record(const Sandbox& sandbox);
std::optional<Sandbox> sandbox_from_record(std::string_view json);

}  // namespace nanobox
