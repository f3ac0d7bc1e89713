#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace nanobox {

/// One mounted cgroup hierarchy.
struct CgroupMount {
  bool v2 = false;
  std::vector<std::string> controllers;  ///< v1: named by the mount's options; v2: empty, see cgroup.controllers
  std::filesystem::path root;            ///< which part of the hierarchy is mounted
  std::filesystem::path mount_point;
};

/// Reads /proc/PID/mountinfo (proc_pid_mountinfo(5)); lines it does not understand are left out.
std::vector<CgroupMount> cgroup_mounts(std::string_view mountinfo);

/// The folder of a process' own cgroup in `mount`, from /proc/PID/cgroup (cgroups(7)); nothing when it lies outside.
std::optional<std::filesystem::path> own_cgroup(const CgroupMount& mount, std::string_view proc_cgroup);

}  // namespace nanobox
