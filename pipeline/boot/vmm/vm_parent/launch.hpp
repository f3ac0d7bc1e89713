#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/error.hpp"

namespace nanobox {

/// What the daemon asks of nanobox-vm-parent, in a memfd. Descriptors travel beside it, in the order of `Passed`.
struct Launch {
  struct Entry {
    std::uint64_t kind = 0;  ///< RootEntry::Kind
    std::string source, target;
    bool read_only = true;
  };
  struct Limit {
    int resource = 0;  ///< RLIMIT_…
    std::uint64_t value = 0;
  };

  std::string name;
  std::string program;
  std::vector<std::string> argv, env;
  bool own_namespaces = true;   ///< mount, pid, net, ipc, uts, and with them the own root
  bool user_namespace = false;  ///< made first, where the daemon is not root
  bool own_user = true;         ///< changes to uid and gid, without supplementary groups
  uid_t uid = 0;
  gid_t gid = 0;
  std::string run_dir;
  std::vector<Entry> root;
  std::vector<int> descriptor_targets;
  std::uint64_t cgroup_count = 0;
  bool cloned_into_cgroup = false;  ///< v2: one folder; else files to write "0" to
  bool joins_network = false;
  std::vector<Limit> limits;
  int oom_score_adj = 0;
  std::string seccomp;  ///< struct sock_filter[], as bytes
  std::string cgroup;   ///< Cgroup::to_string, kept in the `identity` file
};

/// How descriptors follow each other in the request: the Launch itself, the run folder, a network namespace (if
/// `joins_network`), `cgroup_count` of Cgroup::open_entrances, then one for each of `descriptor_targets`.
inline constexpr std::size_t most_passed_descriptors = 200;

std::string to_bytes(const Launch& launch);
std::optional<Launch> launch_from_bytes(std::string_view bytes);

/// What comes back: the processes (their pidfds beside it: the VMM's, the parent's), or what failed.
struct LaunchReport {
  pid_t vmm = 0;
  pid_t parent = 0;
};

std::string to_bytes(const Result<LaunchReport>& report);
/// @returns the report as it was sent; `vmm_failed` for anything that cannot be read
Result<LaunchReport> launch_report_from_bytes(std::string_view bytes);

std::string to_bytes(const Error& error);

}  // namespace nanobox
