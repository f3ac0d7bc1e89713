#include "actors/node.hpp"

#include <spdlog/spdlog.h>

#include <caf/scoped_actor.hpp>

#include "actors/disk_keeper.hpp"
#include "actors/ext4_builder.hpp"
#include "actors/image_puller.hpp"
#include "actors/layer_extractor.hpp"
#include "actors/node_agent.hpp"
#include "actors/record_tables.hpp"
#include "actors/run_recorder.hpp"
#include "actors/sandbox_registry.hpp"
#include "actors/single_node.hpp"
#include "actors/supervisor.hpp"
#include "actors/template_registry.hpp"
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
    const bool rooted = entry->usable() && find_rootfs(services.cache.rootfs, entry->rootfs.identity).has_value();
    if (entry->usable() && !rooted) {
      entry->rootfs = {};
      entry->status = TemplateStatus::failed;
      entry->error = Error{.code = ErrorCode::template_not_ready,
                           .attempted = "load template",
                           .subject = entry->name,
                           .reason = "its root is not in the cache any more",
                           .mend = "warm it up again"};
    } else if (entry->status != TemplateStatus::ready && rooted && !entry->error) {
      entry->status = TemplateStatus::ready;  // a newer version was on its way; this one is whole
    } else if (entry->status != TemplateStatus::ready && !entry->error) {
      entry->error = Error{.code = ErrorCode::cancelled,
                           .attempted = "warm up template",
                           .subject = entry->name,
                           .reason = "the server ended meanwhile",
                           .mend = "warm it up again"};
    }
    services.boards->templates.publish(record.key, *entry);
  }
  return {};
}

/// Removes the files of sandboxes that no record knows, and what VMMs without a record left running.
void remove_strays(const Services& services) {
  std::vector<VmIdentity> known_vms;
  if (const auto rows = services.node_store->vms(); rows && services.driver) {
    for (const auto& row : *rows)
      if (auto identity = vm_identity_from_json(row.identity)) known_vms.push_back(std::move(*identity));
    if (const auto removed = services.driver->remove_leftovers(known_vms); !removed)
      spdlog::warn("{}", describe(removed.error()));
  }
  std::error_code error;
  std::vector<std::filesystem::path> known_runs;
  for (const auto& sandbox : services.boards->sandboxes.all())
    known_runs.push_back(sandbox_files(services, sandbox->id).run_dir);
  for (const auto& entry : std::filesystem::directory_iterator(services.sandboxes_folder, error))
    if (!services.boards->sandboxes.find(entry.path().filename().string()))
      std::filesystem::remove_all(entry.path(), error);
  for (const auto& entry : std::filesystem::directory_iterator(services.run_folder, error))
    if (std::find(known_runs.begin(), known_runs.end(), entry.path()) == known_runs.end())
      std::filesystem::remove_all(entry.path(), error);
}

}  // namespace

ActorSystemConfig::ActorSystemConfig() {
  add_message_types<caf::id_block::nanobox>();
  // The default, work stealing, polls: 5 % of a core when idle.
  set("scheduler.policy", caf::atom("sharing"));
}

Result<Node> start_node(caf::actor_system& system, SharedServices services) {
  NANOBOX_TRY(load_templates(*services));
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
  node.templates = supervise<caf::detached>(
      system, "template_registry", boards, [services, node, first = true](caf::actor_system& on) mutable {
        // What its predecessor had on the way is failed: nobody answers for it any more.
        if (!std::exchange(first, false))
          if (const auto loaded = load_templates(*services); !loaded) spdlog::error("{}", describe(loaded.error()));
        return on.spawn<caf::detached>(template_registry, services, node.image_puller, node.layer_extractor,
                                       node.ext4_builder, node.run_recorder);
      });
  node.scheduler = supervise(system, "scheduler", boards,
                             [services](caf::actor_system& on) { return on.spawn(scheduler, services); });
  node.ip_allocator =
      supervise(system, "ip_allocator", boards, [](caf::actor_system& on) { return on.spawn(ip_allocator); });
  node.network_keeper =
      supervise(system, "network_keeper", boards, [](caf::actor_system& on) { return on.spawn(network_keeper); });
  node.disk_keeper = supervise(system, "disk_keeper", boards,
                               [services](caf::actor_system& on) { return on.spawn(disk_keeper, services); });
  // Set below, before the first message to the node agent: its successors tell it what they find.
  const auto registry = std::make_shared<SandboxRegistryActor>();
  node.node_agent = supervise<caf::detached>(
      system, "node_agent", boards,
      [services, registry, disk_keeper = node.disk_keeper, first = true](caf::actor_system& on) mutable {
        auto agent = on.spawn<caf::detached>(node_agent, services, disk_keeper);
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
  node.sandboxes = supervise<caf::detached>(
      system, "sandbox_registry", boards,
      [services, concerns, recorder = node.run_recorder, first = true](caf::actor_system& on) mutable {
        auto sandboxes = on.spawn<caf::detached>(sandbox_registry, services, concerns, recorder);
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
  remove_strays(*services);
  return node;
}

void stop_node(caf::actor_system& system, Node& node, const std::string& mode) {
  {
    caf::scoped_actor self(system);
    const auto report = [](caf::error& error) { spdlog::error("{}", describe(from_caf(error, "stop the node"))); };
    self->request(node.templates, kDrainDeadline, drain_atom_v).receive([] {}, report);
    self->request(node.sandboxes, kDrainDeadline, drain_atom_v, mode).receive([] {}, report);
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
