#pragma once

#include <sys/types.h>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "config/error.hpp"
#include "config/unique_fd.hpp"
#include "pipeline/boot/vmm/cgroup.hpp"
#include "pipeline/boot/vmm/confinement.hpp"
#include "pipeline/boot/vmm/proc_identity.hpp"
#include "pipeline/boot/vmm/root_entry.hpp"
#include "pipeline/boot/vmm/vm_spent.hpp"

namespace nanobox {

/// A descriptor the VMM starts with. 0 is /dev/null, 1 and 2 are the bounded log; everything else is closed.
struct InheritedFd {
  int source = -1;  ///< borrowed for the call
  int target = 3;   ///< its number in the VMM, 3 or more
};

/// 0 means no limit.
struct VmLimits {
  CgroupLimits cgroup;
  std::uint64_t max_files = 1024;    ///< RLIMIT_NOFILE
  std::uint64_t max_file_bytes = 0;  ///< RLIMIT_FSIZE
};

struct VmProcessSpec {
  std::string name;               ///< short, [a-z0-9-]: names the cgroup and shows in ps
  std::filesystem::path program;  ///< as seen inside the new root
  std::vector<std::string> argv;  ///< argv[0] included
  std::vector<std::string> env;   ///< "K=V"
  std::vector<RootEntry> root;
  std::vector<InheritedFd> descriptors;
  uid_t uid = 0;  ///< the VM's own; used at level `full`, where 0 is refused
  gid_t gid = 0;
  VmLimits limits;
  std::filesystem::path run_dir;  ///< exists; `exit` and `stderr` appear in it, written by the tiny parent
  int network_namespace = -1;     ///< an open namespace to join; -1: a new, empty one
  int oom_score_adj = 500;
};

/// How a VMM ended, as its tiny parent recorded it.
struct VmExitStatus {
  std::optional<int> exit_code;
  std::optional<int> signal;
  std::uint64_t oom_kills = 0;  ///< not 0: the memory limit was exceeded
  std::optional<VmSpent> spent = {};
};

/// What another daemon needs to take a VMM over.
struct VmProcessIdentity {
  ProcIdentity vmm;
  ProcIdentity parent;
  std::string cgroup;  ///< Cgroup::to_string
  std::filesystem::path run_dir;
};

/// A confined VMM that outlives the daemon. Destroying it lets go WITHOUT killing; `end()` kills. Held by pidfd and
/// start time, so never another process that got its number. Neither the VMM nor its tiny parent is our child.
class VmProcess {
public:
  /// Returns once the program was exec'ed under all its confinement, or says which step failed. Blocking (ms).
  /// @errors vmm_missing (program not in the root) · vmm_failed (names the step) · host_unsuitable · invalid_value
  static Result<VmProcess> spawn(const ConfinementHost& host, const VmProcessSpec& spec);
  /// @errors guest_gone when it has ended; `recorded_exit(run_dir)` may tell how
  static Result<VmProcess> adopt(const VmProcessIdentity& identity);

  VmProcess(VmProcess&&) noexcept = default;
  VmProcess& operator=(VmProcess&&) noexcept = default;
  ~VmProcess() = default;

  const VmProcessIdentity& identity() const { return identity_; }
  /// Its run_dir was renamed.
  void moved_to(const std::filesystem::path& run_dir) { identity_.run_dir = run_dir; }
  pid_t pid() const { return identity_.vmm.pid; }
  const Cgroup& cgroup() const { return cgroup_; }

  /// The VMM's pidfd: readable (EPOLLIN) once it has ended. Owned by this object.
  int exit_fd() const { return vmm_.get(); }
  bool has_ended() const;
  /// After the end. Waits up to `patience` for the tiny parent to have recorded it; nothing is known in it when the
  /// parent was killed.
  VmExitStatus exit_status(std::chrono::milliseconds patience = std::chrono::seconds{2}) const;
  /// What the VMM wrote to stdout and stderr: its first 16 KiB, and after its end also the last 16 KiB.
  std::string output() const;

  /// SIGKILL by pidfd, then to everything in its cgroup. Does not wait. Idempotent.
  void end();
  /// After the end: removes the cgroup (kills what may be left in it). Idempotent.
  Result<void> remove_cgroup();

private:
  VmProcess(VmProcessIdentity identity, UniqueFd vmm, UniqueFd parent, Cgroup cgroup);

  VmProcessIdentity identity_;
  UniqueFd vmm_;
  UniqueFd parent_;  ///< may be empty: the tiny parent is gone
  Cgroup cgroup_;
};

/// What a tiny parent left in `run_dir`; nothing when it recorded nothing.
std::optional<VmExitStatus> recorded_exit(const std::filesystem::path& run_dir);
/// Who was started there, also by a daemon that died before it could note it down.
std::optional<VmProcessIdentity> recorded_identity(const std::filesystem::path& run_dir);
/// What it kept of the VMM's output.
std::string recorded_output(const std::filesystem::path& run_dir);

}  // namespace nanobox
