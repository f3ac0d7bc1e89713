#pragma once

#include "actors/concerns.hpp"
#include "actors/services.hpp"

namespace nanobox {

/// Where a sandbox's files are: a function of its id alone, so that what is left behind can be found.
SandboxFiles sandbox_files(const Services& services, const std::string& sandbox_id);

struct DiskKeeperState {
  static inline const char* name = "disk_keeper";
  SharedServices services;
};

DiskKeeperActor::behavior_type disk_keeper(DiskKeeperActor::stateful_pointer<DiskKeeperState> self,
                                           SharedServices services);

}  // namespace nanobox
