#include "actors/sandbox_saving.hpp"

#include <algorithm>

#include "actors/disk_keeper.hpp"
#include "actors/template_snapshot.hpp"
#include "config/id.hpp"
#include "config/log.hpp"
#include "pipeline/boot/disk/overlay.hpp"

namespace nanobox {

namespace {

using Self = SandboxRegistrySelf;
namespace fs = std::filesystem;

}  // namespace

void in_turn(Self self, const std::string& id, std::function<void()> work) {
  auto& saving = self->state.saving;
  const auto [entry, first] = saving.try_emplace(id);
  if (first)
    work();
  else
    entry->second.push_back(std::move(work));
}

void turn_over(Self self, const std::string& id) {
  auto& saving = self->state.saving;
  const auto found = saving.find(id);
  if (found == saving.end()) return;
  if (found->second.empty()) {
    saving.erase(found);
    const auto sandbox = self->state.services->boards->sandboxes.find(id);
    if (sandbox && sandbox->expires_at) look_again_at(self, *sandbox->expires_at);  // that may have been meanwhile
    end_draining(self);
    return;
  }
  auto next = std::move(found->second.front());
  found->second.pop_front();
  next();
}

Result<fs::path> memory_base(const Services& services, const Sandbox& sandbox) {
  if (!sandbox.lineage.snapshot.empty()) return sandbox.lineage.snapshot / "mem";
  return empty_memory(services, sandbox.resources.memory_mb);
}

Result<SaveOrder> order_for(Self self, const Sandbox& sandbox, fs::path folder) {
  const auto& services = *self->state.services;
  if (!services.driver) return fail(services.driver_problem);
  if (sandbox.ip.has_value() != (services.network != nullptr))
    return fail({.code = ErrorCode::network_unavailable,
                 .attempted = "save sandbox",
                 .subject = sandbox.id,
                 .reason = sandbox.ip ? "its machine has a network interface, and this node cannot make any now: " +
                                            services.network_problem.reason
                                      : "its machine has no network interface, and all others of this node have",
                 .mend = services.network_problem.mend});
  SaveOrder order;
  order.capture.memory_base = NANOBOX_TRY(memory_base(services, sandbox));
  order.capture.memory_layer = sandbox.lineage.memory_layer;
  order.capture.memory_bytes = std::uint64_t{sandbox.resources.memory_mb} << 20;
  order.capture.disk = sandbox.lineage.disk_layers;
  order.capture.disk.push_back(sandbox_files(services, sandbox.id).overlay);
  order.saved = state_to_save(services, sandbox.resources, folder);
  self->state.half_saved.insert(std::move(folder));
  return order;
}

fs::path new_folder(const Services& services, const std::string& sandbox_id) {
  return services.snapshots->sandbox_folder(sandbox_id + "-" + make_id("state").substr(6));
}

RunRecord begin_run(Self self, std::string pipeline, const Sandbox& sandbox,
                    const std::array<StageDescription, 2>& stages) {
  auto run = make_run(std::move(pipeline), sandbox.id, sandbox.owner, self->state.services->node_id,
                      {stages.begin(), stages.end()});
  stage_started(run, 0, precise_now());
  self->send(self->state.recorder, record_atom_v, run);
  return run;
}

void end_run(Self self, RunRecord& run, const std::optional<Error>& error) {
  const auto now = precise_now();
  for (std::size_t i = 0; i < run.stages.size(); ++i) {
    if (run.stages[i].status != StageStatus::running) continue;
    if (error)
      stage_failed(run, i, *error, now);
    else
      stage_ended(run, i, now);
  }
  run_ended(run, error ? RunStatus::failed : RunStatus::succeeded, error, now);
  self->send(self->state.recorder, record_atom_v, run);
}

void saved_stage(Self self, RunRecord& run, const Saved& saved) {
  const auto& captured = saved.captured;
  auto& stage = run.stages[0];
  stage.total_bytes = captured.written_bytes;
  stage.detail = "frozen " + std::to_string(saved.frozen_us) + " us; of it without vCPU " +
                 std::to_string(captured.pause_us) + " us: stop " + std::to_string(captured.stop_us) + ", state " +
                 std::to_string(captured.state_us) + ", disk " + std::to_string(captured.disk_us) + ", cont " +
                 std::to_string(captured.cont_us) + "; beside it scan " + std::to_string(captured.scan_us) + ", copy " +
                 std::to_string(captured.copy_us) + " of " + std::to_string(captured.dirty_bytes) +
                 " bytes; then write " + std::to_string(captured.write_us) + " us";
  stage_ended(run, 0, precise_now());
  stage_started(run, 1, precise_now());
  self->send(self->state.recorder, record_atom_v, run);
}

Result<Sandbox> running(Self self, const std::string& id, std::string attempted) {
  const auto sandbox = self->state.services->boards->sandboxes.find(id);
  if (!sandbox) return fail(sandbox_missing(id));
  if (sandbox->status != SandboxStatus::running || self->state.removing.contains(id))
    return fail(not_running(*sandbox, std::move(attempted)));
  return *sandbox;
}

Error not_running(const Sandbox& sandbox, std::string attempted) {
  const bool rests = is_paused(sandbox.status);
  return {.code = rests ? ErrorCode::sandbox_paused : ErrorCode::sandbox_not_running,
          .attempted = std::move(attempted),
          .subject = sandbox.id,
          .reason = "it is " + std::string(to_string(sandbox.status)),
          .mend = rests ? "POST /api/v1/sandboxes/" + sandbox.id + "/resume lets it go on" : ""};
}

Result<void> announce_freeze(Self self, Sandbox& sandbox, SaveOrder& order) {
  const auto& services = *self->state.services;
  order.capture.freeze =
      DiskFreeze{.overlay = sandbox_files(services, sandbox.id).overlay, .layer = new_layer(services)};
  sandbox.lineage.disk_layers.push_back(order.capture.freeze->layer);
  return store_sandbox(self, sandbox);
}

void freeze_failed(Self self, const std::string& id) {
  const auto sandbox = self->state.services->boards->sandboxes.find(id);
  if (!sandbox || self->state.removing.contains(id)) return;
  Sandbox mended = *sandbox;
  mend_lineage(*self->state.services, mended);
  if (auto stored = store_sandbox(self, mended); !stored)
    log_error(LogComponent::sandbox, {{"sandbox", id}}, "{}", describe(stored.error()));
}

Result<void> shorten_chain(const Services& services, std::vector<fs::path>& layers, const fs::path& into,
                           std::uint64_t disk_bytes) {
  if (layers.size() <= kLongestChain) return {};
  const auto first = std::ranges::find_if(layers, [&](const fs::path& layer) {
    return layer.parent_path().parent_path() == services.sandboxes_folder / kLayersFolder;
  });
  std::error_code error;
  fs::create_directories(into.parent_path(), error);
  if (error) return fail(errno_error(error.value(), "make folder", into.parent_path()));
  const auto below = first == layers.begin() ? std::string("base") : std::prev(first)->filename().string();
  NANOBOX_TRY(flatten_overlays(into, std::span(first, layers.end()), disk_bytes, below, true));
  layers.erase(first, layers.end());
  layers.push_back(into);
  return {};
}

}  // namespace nanobox
