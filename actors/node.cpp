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

/// Removes the files of sandboxes that no record knows.
void remove_stray_files(const Services& services) {
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
  node.run_recorder = system.spawn(run_recorder, services->boards);
  node.image_puller = system.spawn(image_puller, services);
  node.layer_extractor = system.spawn(layer_extractor, services);
  node.ext4_builder = system.spawn(ext4_builder, services);
  node.templates = system.spawn<caf::detached>(template_registry, services, node.image_puller, node.layer_extractor,
                                               node.ext4_builder, node.run_recorder);
  node.scheduler = system.spawn(scheduler, services);
  node.ip_allocator = system.spawn(ip_allocator);
  node.network_keeper = system.spawn(network_keeper);
  node.disk_keeper = system.spawn(disk_keeper, services);
  node.node_agent = system.spawn<caf::detached>(node_agent, services, node.disk_keeper);
  BootConcerns concerns{.scheduler = node.scheduler,
                        .ip_allocator = node.ip_allocator,
                        .network_keeper = node.network_keeper,
                        .disk_keeper = node.disk_keeper,
                        .node_agent = node.node_agent};
  node.sandboxes = system.spawn<caf::detached>(sandbox_registry, services, concerns, node.run_recorder);
  caf::scoped_actor self(system);
  self->send(node.node_agent, start_atom_v, VmEndedSink(node.sandboxes));
  Result<void> adopted;
  self->request(node.sandboxes, kAdoptDeadline, adopt_atom_v)
      .receive([] {}, [&](caf::error& error) { adopted = fail(from_caf(error, "take over the sandboxes")); });
  if (!adopted) {
    stop_node(system, node, "keep");
    return fail(adopted.error());
  }
  remove_stray_files(*services);
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
