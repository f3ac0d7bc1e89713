#pragma once

#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <memory>

#include "actors/concerns.hpp"
#include "actors/services.hpp"
#include "pipeline/insight/pool_vms.hpp"

namespace nanobox {

/// CAF's settings for this program: our message types, scheduling without polling.
struct ActorSystemConfig : caf::actor_system_config {
  ActorSystemConfig();
};

/// The actors of one process: control plane and node in one.
struct Node {
  SharedServices services;
  RunRecorderActor run_recorder;
  ImagePullerActor image_puller;
  LayerExtractorActor layer_extractor;
  Ext4BuilderActor ext4_builder;
  TemplateRegistryActor templates;
  SchedulerActor scheduler;
  IpAllocatorActor ip_allocator;
  NetworkKeeperActor network_keeper;
  DiskKeeperActor disk_keeper;
  NodeAgentActor node_agent;
  VmmStockActor vmm_stock;
  SnapshotMakerActor snapshot_maker;
  PoolKeeperActor pool_keeper;
  SandboxRegistryActor sandboxes;
  std::shared_ptr<PoolVms> pool_vms;
};

/// Spawns the actors, takes over what an earlier daemon left (templates, living sandboxes) and returns once that is
/// done. Blocking. @errors store_failed · internal
Result<Node> start_node(caf::actor_system& system, SharedServices services);

/// Undoes or finishes what runs, then ends the actors. `mode` is `[agent] on_shutdown`. Blocking.
void stop_node(caf::actor_system& system, Node& node, const std::string& mode);

}  // namespace nanobox
