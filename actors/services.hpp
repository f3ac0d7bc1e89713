#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "actors/boards.hpp"
#include "config/ipv4_subnet.hpp"
#include "config/settings.hpp"
#include "pipeline/boot/output_spool.hpp"
#include "pipeline/boot/vmm/driver.hpp"
#include "pipeline/insight/node_counters.hpp"
#include "pipeline/warmup/source/blob_cache.hpp"
#include "pipeline/warmup/types.hpp"

namespace nanobox {

class RecordStore;
class NodeStore;
class WindowGate;
class SnapshotStore;
class NodeNetwork;

/// What the actors of one node share. Set up before the first actor, constant after; the parts guard themselves.
struct Services {
  std::string node_id;
  ImageSourceSettings image_sources;
  CacheFolders cache;
  std::shared_ptr<BlobCache> blobs;
  std::shared_ptr<WindowGate> large_windows;  ///< one for all warmups
  std::vector<std::byte> init_binary;         ///< injected into every root
  std::string init_digest;                    ///< part of a root's identity
  std::string dns_server;

  std::filesystem::path sandboxes_folder;  ///< [agent] rootfs_dir
  std::filesystem::path snapshots_folder;  ///< [agent] snapshot_dir
  std::filesystem::path run_folder;        ///< DATA/run
  std::shared_ptr<SnapshotStore> snapshots;
  std::uint64_t snapshot_max_mb = 0;  ///< 0: no limit
  std::string kernel_digest;
  Settings::Pool pool;
  std::filesystem::path kernel;  ///< empty: none found
  SpoolPlace spools;             ///< of the outputs of commands
  std::string boot_args;
  std::uint64_t min_free_mb = 1024;
  double disk_overcommit = 4.0;
  std::uint64_t memory_budget_mb = 0;  ///< for all guests together
  UidRange vmm_uids;                   ///< the VMMs' own users

  std::shared_ptr<VmmDriver> driver;  ///< null: none works here; `driver_problem` says why
  Error driver_problem;

  std::shared_ptr<NodeNetwork> network;  ///< null: VMs have no interface; `network_problem` says why
  Error network_problem;
  Ipv4Subnet subnet;        ///< of all nodes
  Ipv4Subnet address_part;  ///< of it, what this node gives addresses from

  std::shared_ptr<RecordStore> control_store;
  std::shared_ptr<NodeStore> node_store;
  std::shared_ptr<Boards> boards;
  std::shared_ptr<NodeCounters> counters = std::make_shared<NodeCounters>();
};

using SharedServices = std::shared_ptr<const Services>;

}  // namespace nanobox
