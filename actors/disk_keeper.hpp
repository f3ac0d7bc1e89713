#pragma once

#include "actors/concerns.hpp"
#include "actors/services.hpp"
#include "pipeline/cluster/lineage/lineage_artifacts.hpp"

namespace nanobox {

/// Where a sandbox's files are: a function of its id alone, so that what is left behind can be found.
SandboxFiles sandbox_files(const Services& services, const std::string& sandbox_id);

/// The folders, of which only the daemon sees into the one with the overlay. Blocking. @errors io_failed
Result<void> make_folders(const SandboxFiles& files);
/// All of it, if it is there. Blocking. @errors io_failed
Result<void> remove_files(const SandboxFiles& files);

/// Folders beside the sandboxes' in [agent] rootfs_dir.
inline constexpr const char* kLayersFolder = ".layers";
inline constexpr const char* kEmptyMemoryFolder = ".empty-memory";

/// The memory that every cold boot of that size maps: nothing but a hole, never written. Blocking.
Result<std::filesystem::path> empty_memory(const Services& services, std::uint32_t memory_mb);

/// Where this node keeps what its sandboxes at rest stand on.
LineageFolders lineage_folders(const Services& services);

/// A name for a frozen overlay: `.layers/<layer id>/disk.qcow2`.
std::filesystem::path new_layer(const Services& services);

struct DiskKeeperState {
  static inline const char* name = "disk_keeper";
  SharedServices services;
};

DiskKeeperActor::behavior_type disk_keeper(DiskKeeperActor::stateful_pointer<DiskKeeperState> self,
                                           SharedServices services);

}  // namespace nanobox
