#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "config/error.hpp"
#include "config/unique_fd.hpp"

namespace nanobox {

struct CgroupMount;

/// 0 means no limit.
struct CgroupLimits {
  std::uint64_t memory_bytes = 0;  ///< resident memory and page cache; swap is not allowed where that can be said
  std::uint32_t cpu_percent = 0;   ///< of one core: 150 is one and a half
  std::uint32_t max_pids = 0;      ///< processes and threads
};

enum class CgroupVersion : std::uint8_t { none, v1, v2 };
std::string_view to_string(CgroupVersion version);

/// What of the limits this host can hold, for `doctor`.
struct CgroupSupport {
  CgroupVersion version = CgroupVersion::none;
  bool memory = false;
  bool cpu = false;
  bool pids = false;
  std::vector<std::string> reasons;  ///< a sentence for everything that is missing
};

/// One cgroup of ours: a folder in v2, one folder a controller in v1, nothing where only rlimits hold. A value that
/// names the folders; destroying it does nothing, for a VM outlives the daemon. Calls may block briefly.
class Cgroup {
public:
  Cgroup() = default;

  CgroupVersion version() const { return version_; }
  /// Names the folders so that another daemon finds them again; empty for `none`.
  std::string to_string() const;
  /// @errors invalid_value when `text` names a folder that does not carry our mark
  static Result<Cgroup> from_string(std::string_view text);

  /// What a new process joins by. v1: the `tasks` files, into each of which its only thread writes "0" (which, unlike
  /// cgroup.procs, waits for no lock of the whole machine: 10 to 30 ms). v2: the folder, for CLONE_INTO_CGROUP.
  Result<std::vector<UniqueFd>> open_entrances() const;
  /// Members as this process sees them.
  std::vector<int> members() const;
  /// Sends SIGKILL to every member until there are none to be found. Does not wait for their end. Idempotent.
  Result<void> kill_all() const;
  /// Kills what is left and removes the folders, waiting for the members' end up to `patience`. Idempotent.
  Result<void> remove(std::chrono::milliseconds patience = std::chrono::seconds{5}) const;
  /// How often the kernel killed a member for want of memory.
  std::uint64_t oom_kills() const;

private:
  friend class CgroupHome;
  CgroupVersion version_ = CgroupVersion::none;
  std::vector<std::filesystem::path> folders_;
};

/// Where the cgroups of one data folder live: `nanobox-<hash of the data folder>/` below the daemon's own cgroup, or
/// with v2 below the one that $NANOBOX_CGROUP names: a service manager cannot start a daemon again in a cgroup below
/// which VMs live on with limits.
class CgroupHome {
public:
  /// Finds out, by doing, what this host allows. With v2 this process may move into a leaf of its own, for a cgroup
  /// with controllers below it may have no members. Never fails: `none` with the reasons is an answer.
  static CgroupHome detect(const std::filesystem::path& data_folder);
  /// No cgroups at all: rlimits only.
  static CgroupHome without(std::string reason);

  const CgroupSupport& support() const { return support_; }
  /// The folder name that marks what is ours.
  const std::string& mark() const { return mark_; }

  /// A new cgroup with limits set. @param name  one path component, [a-z0-9-]
  /// @errors host_unsuitable · conflict when it exists · io_failed
  Result<Cgroup> create(std::string_view name, const CgroupLimits& limits) const;
  /// Ends and removes every cgroup with our mark (also of earlier daemons, wherever they lived) but those in `keep`.
  /// @returns  how many were removed
  Result<std::size_t> remove_leftovers(std::span<const Cgroup> keep) const;

private:
  bool settle_v2(const std::vector<CgroupMount>& mounts, std::string_view own);
  void settle_v1(const std::vector<CgroupMount>& mounts, std::string_view own);

  CgroupSupport support_;
  std::string mark_;
  std::vector<std::filesystem::path> bases_;   ///< folders that hold ours, without duplicates
  std::vector<std::filesystem::path> mounts_;  ///< where leftovers are looked for
};

}  // namespace nanobox
