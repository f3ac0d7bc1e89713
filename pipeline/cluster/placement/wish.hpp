#pragma once

#include <string>
#include <vector>

#include "pipeline/boot/stages.hpp"
#include "pipeline/cluster/placement/amounts.hpp"

namespace nanobox {

/// What a sandbox that is to be placed needs, and what it would start fastest from. Empty strings: it does not matter.
struct Wish {
  std::string owner;
  std::string template_key;     ///< names its warm pools
  std::string rootfs_identity;  ///< nearer where it is there already
  std::string snapshot_key;     ///< nearer still; of a size, as the pool's members are
  Amounts resources;
  std::string vmm;                          ///< only nodes that have it
  std::vector<std::string> cpu_features;    ///< only nodes that have all of them
  std::string pinned_node;                  ///< only this one: a paused sandbox, a fork. It may be cordoned
  std::string group_node;                   ///< only this one, which has no overlay: its network group is there
  bool needs_overlay = false;               ///< only nodes that have one: its network group is on such nodes
  std::vector<std::string> excluded_nodes;  ///< a boot of it failed there
  BootWay way = BootWay::automatic;         ///< `pool`: only where a member is; `snapshot`, `cold`: the pool is no help
  bool needs_rootfs = false;                ///< only nodes that have it: it cannot be fetched
  bool needs_snapshot = false;              ///< the same of the snapshot
};

}  // namespace nanobox
