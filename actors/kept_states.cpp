#include "actors/kept_states.hpp"

#include "actors/disk_keeper.hpp"
#include "actors/record_tables.hpp"
#include "config/log.hpp"
#include "pipeline/cluster/artifact/manifest.hpp"
#include "pipeline/cluster/lineage/lineage_artifacts.hpp"
#include "pipeline/store/record_store.hpp"

namespace nanobox {

namespace {

using Self = SandboxRegistrySelf;

Error no_state(const std::string& name, std::string reason) {
  return {.code = ErrorCode::artifact_missing,
          .attempted = "find the saved state",
          .subject = name,
          .reason = std::move(reason),
          .mend = "",
          .transient = true};
}

}  // namespace

Result<void> load_kept_states(const Services& services) {
  for (const auto& record : NANOBOX_TRY(all_records(*services.control_store, kKeptStateKind))) {
    const auto state = sandbox_from_record(record.value);
    if (state && state->status == SandboxStatus::paused)
      services.boards->kept_states.publish(record.key, *state);
    else
      NANOBOX_TRY(delete_record(*services.control_store, kKeptStateKind, record.key));
  }
  return {};
}

Result<Sandbox> keep_state(Self self, Sandbox state) {
  const auto& services = *self->state.services;
  state.lineage = NANOBOX_TRY(localized(state.lineage, lineage_folders(services)));
  if (state.lineage.paused_state.empty() || !is_artifact_name(state.rootfs_identity))
    return fail(Error{.code = ErrorCode::invalid_value,
                      .attempted = "keep a saved state",
                      .subject = state.id,
                      .reason = "it is no sandbox at rest",
                      .mend = ""});
  state.rootfs_path = services.cache.rootfs / (state.rootfs_identity + ".ext4");
  const auto name = saved_name(state);
  NANOBOX_TRY(put_record(*services.control_store, kKeptStateKind, name, state.owner, to_record(state)));
  services.boards->kept_states.publish(name, state);
  return state;
}

Result<void> drop_state(Self self, const std::string& name) {
  const auto& services = *self->state.services;
  if (!services.boards->kept_states.find(name)) return {};
  NANOBOX_TRY(delete_record(*services.control_store, kKeptStateKind, name));
  services.boards->kept_states.erase(name);
  collect_layers(self);
  return {};
}

Result<std::shared_ptr<const Sandbox>> find_state(const Services& services, const std::string& name) {
  auto kept = services.boards->kept_states.find(name);
  if (!kept) return fail(no_state(name, "this node does not have it"));
  if (kept->status == SandboxStatus::creating) return fail(no_state(name, "it is not whole yet"));
  return kept;
}

Result<Sandbox> adopt_state(Self self, const std::string& name, Sandbox known) {
  auto& state = self->state;
  const auto& services = *state.services;
  if (const auto here = services.boards->sandboxes.find(known.id)) {
    if (here->status == SandboxStatus::paused && saved_name(*here) == name) return *here;
    return fail(Error{.code = ErrorCode::conflict,
                      .attempted = "take over sandbox",
                      .subject = known.id,
                      .reason = "this node has one of that id, which is " + std::string(to_string(here->status)),
                      .mend = ""});
  }
  const auto kept = NANOBOX_TRY(find_state(services, name));
  if (kept->id != known.id || kept->owner != known.owner) return fail(no_state(name, "it is of sandbox " + kept->id));
  known.status = SandboxStatus::paused;
  known.node_id = services.node_id;
  known.lineage = kept->lineage;
  known.rootfs_path = kept->rootfs_path;
  known.expires_at.reset();
  NANOBOX_TRY(store_sandbox(self, known));
  if (auto dropped = drop_state(self, name); !dropped)
    log_error(LogComponent::sandbox, {{"sandbox", known.id}}, "{}", describe(dropped.error()));
  log_info(LogComponent::sandbox, {{"sandbox", known.id}}, "taken over from another node, paused");
  return known;
}

}  // namespace nanobox
