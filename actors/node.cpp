#include "actors/node.hpp"

#include <caf/scoped_actor.hpp>
#include <set>

#include "actors/cluster/concerns.hpp"
#include "actors/disk_keeper.hpp"
#include "actors/ext4_builder.hpp"
#include "actors/image_puller.hpp"
#include "actors/ip_allocator.hpp"
#include "actors/kept_states.hpp"
#include "actors/layer_extractor.hpp"
#include "actors/network_keeper.hpp"
#include "actors/node_agent.hpp"
#include "actors/pool_keeper.hpp"
#include "actors/record_tables.hpp"
#include "actors/run_recorder.hpp"
#include "actors/sandbox_registry.hpp"
#include "actors/scheduler.hpp"
#include "actors/snapshot_maker.hpp"
#include "actors/stray_vm.hpp"
#include "actors/supervisor.hpp"
#include "actors/template_registry.hpp"
#include "actors/template_snapshot.hpp"
#include "actors/vmm_stock.hpp"
#include "config/log.hpp"
#include "pipeline/store/node_store.hpp"
#include "pipeline/store/record_store.hpp"
#include "pipeline/warmup/rootfs/rootfs_cache.hpp"

namespace nanobox {

namespace {

constexpr std::chrono::seconds kAdoptDeadline{120};
constexpr std::chrono::seconds kDrainDeadline{120};

/// Publishes the templates of an earlier daemon; a warmup that it had not finished is failed.
Result<void> load_templates(const Services& services) {
  for (const auto& record : NANOBOX_TRY(all_records(*services.control_store, kTemplateKind))) {
    auto entry = template_from_record(record.value);
    if (!entry) continue;
    const bool rooted =
        !entry->rootfs.identity.empty() && find_rootfs(services.cache.rootfs, entry->rootfs.identity).has_value();
    if (!entry->rootfs.identity.empty() && !rooted) {
      entry->rootfs = {};
      entry->status = TemplateStatus::failed;
      entry->error = Error{.code = ErrorCode::template_not_ready,
                           .attempted = "load template",
                           .subject = entry->name,
                           .reason = "its root is not in the cache any more",
                           .mend = "warm it up again"};
    } else if (entry->status != TemplateStatus::ready && rooted && !entry->error && (entry->served || !entry->prime)) {
      // A newer version was on its way, or the snapshot: this one is whole.
      entry->status = TemplateStatus::ready;
      entry->served = true;
    } else if (entry->status != TemplateStatus::ready && !entry->error) {
      entry->error = Error{.code = ErrorCode::cancelled,
                           .attempted = "warm up template",
                           .subject = entry->name,
                           .reason = "the server ended meanwhile",
                           .mend = "warm it up again"};
    }
    if (entry->snapshot_status == SnapshotStatus::making) {
      entry->snapshot_status = SnapshotStatus::failed;
      entry->snapshot_error = Error{.code = ErrorCode::cancelled,
                                    .attempted = "make the snapshot of",
                                    .subject = entry->name,
                                    .reason = "the server ended meanwhile",
                                    .mend = "warm it up again"};
    }
    services.boards->templates.publish(record.key, *entry);
  }
  return {};
}

/// Ends the VMs that are no sandbox' (an earlier daemon's pool, stock and half-made templates), and removes the files
/// of what no record knows.
Result<void> remove_strays(const Services& services) {
  std::set<std::string> sandboxes;
  for (const auto& record : NANOBOX_TRY(all_records(*services.control_store, kSandboxKind)))
    sandboxes.insert(record.key);
  std::vector<VmIdentity> known_vms;
  for (const auto& row : NANOBOX_TRY(services.node_store->vms())) {
    if (sandboxes.contains(row.sandbox_id)) {
      if (auto identity = vm_identity_from_json(row.identity)) known_vms.push_back(std::move(*identity));
      continue;
    }
    if (auto ended = end_stray(services, row.sandbox_id); !ended)
      log_warn(LogComponent::node, {{"sandbox", row.sandbox_id}}, "{}", describe(ended.error()));
    NANOBOX_TRY(services.node_store->forget(row.sandbox_id));
  }
  if (services.driver)
    if (const auto removed = services.driver->remove_leftovers(known_vms); !removed)
      log_warn(LogComponent::node, {}, "{}", describe(removed.error()));
  std::error_code error;
  std::set<std::filesystem::path> known{services.sandboxes_folder / kLayersFolder,
                                        services.sandboxes_folder / kEmptyMemoryFolder};
  for (const auto& id : sandboxes) {
    const auto files = sandbox_files(services, id);
    known.insert(files.folder);
    known.insert(files.run_dir);
  }
  for (const auto& folder : {services.sandboxes_folder, services.run_folder})
    for (const auto& entry : std::filesystem::directory_iterator(folder, error))
      if (!known.contains(entry.path())) std::filesystem::remove_all(entry.path(), error);
  return {};
}

}  // namespace

ActorSystemConfig::ActorSystemConfig() {
  add_message_types<caf::id_block::nanobox>();
  add_message_types<caf::id_block::nanobox_cluster>();
  add_message_types<caf::id_block::nanobox_admission>();
  add_message_types<caf::id_block::nanobox_faces>();
  // The default, work stealing, polls: 5 % of a core when idle.
  set("scheduler.policy", caf::atom("sharing"));
}

Result<Node> start_node(caf::actor_system& system, SharedServices services) {
  NANOBOX_TRY(remove_strays(*services));
  NANOBOX_TRY(adopt_networks(*services));
  NANOBOX_TRY(load_templates(*services));
  NANOBOX_TRY(load_kept_states(*services));
  Node node;
  node.services = services;
  const auto& boards = services->boards;
  node.run_recorder = supervise(system, "run_recorder", boards,
                                [boards](caf::actor_system& on) { return on.spawn(run_recorder, boards); });
  node.image_puller = supervise(system, "image_puller", boards,
                                [services](caf::actor_system& on) { return on.spawn(image_puller, services); });
  node.layer_extractor = supervise(system, "layer_extractor", boards,
                                   [services](caf::actor_system& on) { return on.spawn(layer_extractor, services); });
  node.ext4_builder = supervise(system, "ext4_builder", boards,
                                [services](caf::actor_system& on) { return on.spawn(ext4_builder, services); });
  node.scheduler = supervise(system, "scheduler", boards,
                             [services](caf::actor_system& on) { return on.spawn(scheduler, services); });
  node.ip_allocator = supervise<caf::detached>(system, "ip_allocator", boards, [services](caf::actor_system& on) {
    return on.spawn<caf::detached>(ip_allocator, services);
  });
  node.network_keeper = supervise<caf::detached>(system, "network_keeper", boards, [services](caf::actor_system& on) {
    return on.spawn<caf::detached>(network_keeper, services);
  });
  node.disk_keeper = supervise(system, "disk_keeper", boards,
                               [services](caf::actor_system& on) { return on.spawn(disk_keeper, services); });
  node.vmm_stock = supervise<caf::detached>(system, "vmm_stock", boards, [services](caf::actor_system& on) {
    return on.spawn<caf::detached>(vmm_stock, services);
  });
  const auto remains = std::make_shared<Board<VmRemains>>();
  // Set below, before the first message to the node agent: its successors tell it what they find.
  const auto registry = std::make_shared<SandboxRegistryActor>();
  node.node_agent = supervise<caf::detached>(system, "node_agent", boards,
                                             [services, registry, remains, disk_keeper = node.disk_keeper,
                                              stock = node.vmm_stock, first = true](caf::actor_system& on) mutable {
                                               auto agent = on.spawn<caf::detached>(node_agent, services, disk_keeper,
                                                                                    stock, remains);
                                               if (!std::exchange(first, false)) {
                                                 caf::anon_send(agent, start_atom_v, VmEndedSink(*registry));
                                                 caf::anon_send(*registry, adopt_atom_v);
                                               }
                                               return agent;
                                             });
  BootConcerns concerns{.scheduler = node.scheduler,
                        .ip_allocator = node.ip_allocator,
                        .network_keeper = node.network_keeper,
                        .disk_keeper = node.disk_keeper,
                        .node_agent = node.node_agent};
  node.snapshot_maker = supervise(system, "snapshot_maker", boards,
                                  [services, concerns, recorder = node.run_recorder](caf::actor_system& on) {
                                    return on.spawn(snapshot_maker, services, concerns, recorder);
                                  });
  node.templates = supervise<caf::detached>(
      system, "template_registry", boards, [services, node, first = true](caf::actor_system& on) mutable {
        // What its predecessor had on the way is failed: nobody answers for it any more.
        if (!std::exchange(first, false))
          if (const auto loaded = load_templates(*services); !loaded)
            log_error(LogComponent::node, {}, "{}", describe(loaded.error()));
        return on.spawn<caf::detached>(template_registry, services, node.image_puller, node.layer_extractor,
                                       node.ext4_builder, node.snapshot_maker, node.run_recorder);
      });
  node.pool_keeper = supervise<caf::detached>(
      system, "pool_keeper", boards,
      [services, concerns, stock = node.vmm_stock, recorder = node.run_recorder](caf::actor_system& on) {
        return on.spawn<caf::detached>(pool_keeper, services, concerns, stock, recorder);
      });
  node.sandboxes =
      supervise<caf::detached>(system, "sandbox_registry", boards,
                               [services, concerns, node, remains, first = true](caf::actor_system& on) mutable {
                                 auto sandboxes = on.spawn<caf::detached>(
                                     sandbox_registry, services, concerns, node.run_recorder, node.pool_keeper,
                                     node.vmm_stock, node.templates, node.snapshot_maker, remains);
                                 if (!std::exchange(first, false)) caf::anon_send(sandboxes, adopt_atom_v);
                                 return sandboxes;
                               });
  *registry = node.sandboxes;
  caf::scoped_actor self(system);
  self->send(node.node_agent, start_atom_v, VmEndedSink(node.sandboxes));
  Result<void> adopted;
  self->request(node.sandboxes, kAdoptDeadline, adopt_atom_v)
      .receive([] {}, [&](caf::error& error) { adopted = fail(from_caf(error, "take over the sandboxes")); });
  if (!adopted) {
    stop_node(system, node, "keep");
    return fail(adopted.error());
  }
  collect_snapshots(*services);
  return node;
}

void stop_node(caf::actor_system& system, Node& node, const std::string& mode) {
  {
    caf::scoped_actor self(system);
    const auto report = [](caf::error& error) {
      log_error(LogComponent::node, {}, "{}", describe(from_caf(error, "stop the node")));
    };
    self->request(node.templates, kDrainDeadline, drain_atom_v).receive([] {}, report);
    self->request(node.sandboxes, kDrainDeadline, drain_atom_v, mode).receive([] {}, report);
    self->request(node.snapshot_maker, kDrainDeadline, drain_atom_v).receive([] {}, report);
    self->request(node.pool_keeper, kDrainDeadline, drain_atom_v).receive([] {}, report);
    self->request(node.vmm_stock, kDrainDeadline, drain_atom_v).receive([] {}, report);
    self->send_exit(node.pool_keeper, caf::exit_reason::user_shutdown);
    self->send_exit(node.snapshot_maker, caf::exit_reason::user_shutdown);
    self->send_exit(node.vmm_stock, caf::exit_reason::user_shutdown);
    self->send_exit(node.templates, caf::exit_reason::user_shutdown);
    self->send_exit(node.sandboxes, caf::exit_reason::user_shutdown);
    self->send_exit(node.node_agent, caf::exit_reason::user_shutdown);
    self->send_exit(node.disk_keeper, caf::exit_reason::user_shutdown);
    self->send_exit(node.scheduler, caf::exit_reason::user_shutdown);
    self->send_exit(node.ip_allocator, caf::exit_reason::user_shutdown);
    self->send_exit(node.network_keeper, caf::exit_reason::user_shutdown);
    self->send_exit(node.image_puller, caf::exit_reason::user_shutdown);
    self->send_exit(node.layer_extractor, caf::exit_reason::user_shutdown);
    self->send_exit(node.ext4_builder, caf::exit_reason::user_shutdown);
    self->send_exit(node.run_recorder, caf::exit_reason::user_shutdown);
  }
  node = Node{};
}

}  // namespace nanobox
