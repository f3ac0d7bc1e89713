#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "config/error.hpp"
#include "pipeline/boot/vmm/cgroup.hpp"

namespace nanobox {

/// How much of the confinement this host and this user allow. Seccomp, no_new_privs, no capabilities, an own session
/// and closed descriptors hold in every one.
enum class ConfinementLevel : std::uint8_t {
  full = 1,        ///< root: own uid, own namespaces, own root
  user_namespace,  ///< not root: own namespaces and root, but the daemon's uid
  minimal,         ///< neither: no own uid, namespaces or root
};
std::string_view to_string(ConfinementLevel level);

/// One thing that does not hold.
struct ConfinementGap {
  std::string what;    ///< "own uid"
  std::string reason;  ///< "the daemon does not run as root"
  std::string mend;
};

/// What `doctor` shows.
struct ConfinementReport {
  ConfinementLevel level = ConfinementLevel::minimal;
  CgroupSupport cgroups;
  std::vector<ConfinementGap> gaps;
};

/// What starting a confined process needs from the host; made once by the daemon, copied freely.
struct ConfinementHost {
  std::filesystem::path parent_program;  ///< nanobox-vm-parent
  CgroupHome cgroups;
  ConfinementReport report;
  std::string seccomp_filter;  ///< see confinement_seccomp_filter

  /// Finds the strongest level by starting a process in each. Blocking (tens of ms).
  /// @param parent_program  empty: beside this process' executable, else in ../libexec/nanobox
  /// @errors vmm_missing when nanobox-vm-parent is not there
  static Result<ConfinementHost> detect(const std::filesystem::path& data_folder,
                                        const std::filesystem::path& parent_program = {});
};

}  // namespace nanobox
