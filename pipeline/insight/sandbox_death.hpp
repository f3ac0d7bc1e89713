#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "config/clock.hpp"
#include "pipeline/template.hpp"

namespace nanobox {

/// Why a sandbox ended.
enum class DeathCause : std::uint8_t {
  asked = 1,      ///< somebody deleted it
  expired,        ///< its time was over
  vm_exit,        ///< its guest halted, or its VMM ended
  out_of_memory,  ///< the host's kernel killed its VMM, or the guest's had nothing left to kill
  kernel_panic,
  node_lost,
  shutdown,  ///< its daemon stopped, with [agent] on_shutdown = "destroy"
  failed,    ///< any other failure; the reason says which
};
std::string_view to_string(DeathCause cause);

/// How long one is kept.
inline constexpr std::chrono::hours kDeathKept{1};

/// What a sandbox had used when it ended.
struct SandboxUsage {
  std::int64_t wall_ms = 0;  ///< since it was made
  std::int64_t cpu_ms = 0;   ///< of its VMM
  std::uint64_t memory_peak_bytes = 0;
  std::uint64_t disk_bytes = 0;  ///< that its own overlay took
  bool operator==(const SandboxUsage&) const = default;
};

/// What is left of a sandbox that has ended.
struct SandboxDeath {
  std::string id;
  std::string owner;
  std::string template_name;
  std::string node_id;
  DeathCause cause = DeathCause::failed;
  std::string reason;
  std::string boot_path;
  Resources resources;
  WallTime created_at{};
  WallTime ended_at{};
  std::string console;                ///< its last lines, at most kDeathConsoleMax
  std::optional<SandboxUsage> usage;  ///< none where its VMM was gone before it could be asked
  bool operator==(const SandboxDeath&) const = default;
};
inline constexpr std::size_t kDeathConsoleMax = std::size_t{16} << 10;

/// As GET /sandboxes/{id}/death shows it.
std::string to_json(const SandboxDeath& death);
/// All of it, and back; nothing where the text is not exactly that.
std::string death_to_record(const SandboxDeath& death);
std::optional<SandboxDeath> death_from_record(std::string_view json);

}  // namespace nanobox
