#include "actors/template_registry.hpp"

#include <algorithm>

#include "actors/job.hpp"
#include "actors/record_tables.hpp"
#include "actors/template_snapshot.hpp"
#include "actors/warmup_run.hpp"
#include "pipeline/store/record_store.hpp"
#include "pipeline/warmup/rootfs/build.hpp"
#include "pipeline/warmup/source/resolve.hpp"

namespace nanobox {

namespace {

using Self = TemplateRegistryActor::stateful_pointer<TemplateRegistryState>;
constexpr std::chrono::seconds kHeadDeadline{5};

bool same_wishes(const WarmupRequest& a, const WarmupRequest& b) {
  return a.image.image == b.image.image && a.image.platform == b.image.platform && a.resources == b.resources &&
         a.snapshot == b.snapshot && a.sshd == b.sshd && a.prime == b.prime;
}

/// What a template's sandboxes have when they ask for nothing: a disk is never smaller than its root.
Resources resources_on(const BuiltRootfs& rootfs, Resources wanted) {
  const auto root_mb = static_cast<std::uint32_t>((rootfs.size_bytes + (1 << 20) - 1) >> 20);
  wanted.disk_mb = std::max(wanted.disk_mb, root_mb);
  return wanted;
}

bool same_wishes(const Template& entry, const WarmupRequest& request) {
  return entry.image == request.image.image && entry.platform == request.image.platform &&
         entry.resources == resources_on(entry.rootfs, request.resources) && entry.snapshot == request.snapshot &&
         entry.sshd == request.sshd && entry.prime == request.prime;
}

Result<void> store(Self self, const Template& entry) {
  const auto key = template_key(entry.owner, entry.name);
  NANOBOX_TRY(put_record(*self->state.services->control_store, kTemplateKind, key, entry.owner, to_record(entry)));
  self->state.services->boards->templates.publish(key, entry);
  return {};
}

/// Whether the template is what `request` asks for, unless the image's name stands for another digest by now.
bool may_be_done(const Services& services, const Template& entry, const WarmupRequest& request) {
  return !request.force && entry.status == TemplateStatus::ready && entry.usable() && same_wishes(entry, request) &&
         find_rootfs(services.cache.rootfs, entry.rootfs.identity).has_value() &&
         (!request.snapshot || !services.driver || usable_snapshot(services, entry, entry.resources));
}

/// The running warmup of that name, if it makes what `request` asks for.
std::optional<Result<WarmupAnswer>> join_running(Self self, const WarmupRequest& request) {
  const auto running = self->state.running.find(template_key(request.owner, request.name));
  if (running == self->state.running.end()) return std::nullopt;
  if (same_wishes(running->second.request, request))
    return WarmupAnswer{
        .name = request.name, .operation_id = running->second.run_id, .status = TemplateStatus::running};
  return fail({.code = ErrorCode::conflict,
               .attempted = "warm up template",
               .subject = request.name,
               .reason = "another warmup of that name is on its way",
               .mend = "wait for it, or use another name"});
}

Result<WarmupAnswer> begin(Self self, const WarmupRequest& request) {
  auto& state = self->state;
  if (state.stopping)
    return fail({.code = ErrorCode::shutting_down,
                 .attempted = "warm up",
                 .subject = request.name,
                 .reason = "the server is stopping",
                 .mend = "try again later"});
  if (auto joined = join_running(self, request)) return std::move(*joined);
  const auto key = template_key(request.owner, request.name);
  const auto old = state.services->boards->templates.find(key);
  Template entry = old ? *old : Template{};
  entry.name = request.name;
  entry.owner = request.owner;
  if (!entry.usable()) {
    entry.image = request.image.image;
    entry.platform = request.image.platform;
    entry.resources = request.resources;
    entry.created_at = wall_now();
  }
  entry.status = TemplateStatus::queued;
  entry.error.reset();
  entry.updated_at = wall_now();
  WarmupConcerns concerns{.image_puller = state.image_puller,
                          .layer_extractor = state.layer_extractor,
                          .ext4_builder = state.ext4_builder,
                          .template_registry = TemplateRegistryActor(self),
                          .snapshot_maker = state.snapshot_maker};
  auto record = make_run("warmup", request.name, request.owner, state.services->node_id, [] {
    const auto stages = WarmupPipeline::describe();
    return std::vector(stages.begin(), stages.end());
  }());
  entry.operation_id = record.id;
  NANOBOX_TRY(store(self, entry));
  state.services->boards->runs.publish(record.id, record);
  WarmupAnswer answer{.name = request.name, .operation_id = record.id, .status = TemplateStatus::queued};
  auto run = self->spawn<caf::detached>(warmup_run, std::move(record), std::move(concerns), request, state.recorder);
  self->monitor(run);
  state.running.emplace(key, TemplateRegistryState::Running{answer.operation_id, request, run});
  return answer;
}

caf::result<WarmupAnswer> warmup(Self self, const WarmupRequest& request) {
  const auto old = self->state.services->boards->templates.find(template_key(request.owner, request.name));
  if (!old || !may_be_done(*self->state.services, *old, request)) return reply(begin(self, request));
  auto promise = self->make_response_promise<WarmupAnswer>();
  auto go_on = [self, promise, request]() mutable {
    auto begun = begin(self, request);
    if (begun)
      promise.deliver(std::move(*begun));
    else
      promise.deliver(to_caf(begun.error()));
  };
  request_job(self, 2 * kHeadDeadline,
              [services = self->state.services, image = request.image]() -> Result<std::string> {
                StageContext context;
                context.deadline = std::chrono::steady_clock::now() + kHeadDeadline;
                return head_digest(context, services->image_sources, image);
              })
      .then(
          [promise, go_on, old](const std::string& digest) mutable {
            if (digest != old->digest) return go_on();
            promise.deliver(
                WarmupAnswer{.name = old->name, .operation_id = old->operation_id, .status = TemplateStatus::ready});
          },
          [go_on](caf::error&) mutable { go_on(); });
  return promise;
}

caf::result<Template> publish(Self self, const WarmupCall& call, const BuiltImage& built) {
  const auto& request = call.request;
  const auto key = template_key(request.owner, request.name);
  const auto old = self->state.services->boards->templates.find(key);
  Template entry;
  entry.name = request.name;
  entry.owner = request.owner;
  entry.image = request.image.image;
  entry.platform = request.image.platform;
  entry.resources = resources_on(built.rootfs, request.resources);
  entry.snapshot = request.snapshot;
  entry.sshd = request.sshd;
  entry.prime = request.prime;
  entry.status = TemplateStatus::running;
  entry.served = old && old->usable();
  if (entry.snapshot) entry.snapshot_status = SnapshotStatus::making;
  entry.operation_id = call.run_id;
  entry.created_at = old ? old->created_at : wall_now();
  entry.updated_at = wall_now();
  entry.digest = built.image.digest;
  entry.layers = built.image.layers;
  entry.config = built.image.config;
  entry.rootfs = built.rootfs;
  if (old) entry.snapshot_key = old->snapshot_key;  // used again if it is of this version
  if (auto stored = store(self, entry); !stored) return to_caf(stored.error());
  (void)link_rootfs_name(self->state.services->cache.rootfs, entry.rootfs, entry.name);
  return entry;
}

void publish_outcome(Self self, const RunRecord& run, const Template& made) {
  auto& state = self->state;
  const auto key = template_key(run.owner, run.subject);
  const auto running = state.running.find(key);
  if (running == state.running.end() || running->second.run_id != run.id) return;
  state.running.erase(running);
  if (run.status == RunStatus::succeeded) {
    Template ready = made;
    ready.status = TemplateStatus::ready;
    ready.served = true;
    ready.updated_at = wall_now();
    (void)store(self, ready);
    collect_snapshots(*state.services);
  } else if (const auto entry = state.services->boards->templates.find(key)) {
    Template changed = *entry;
    if (changed.snapshot_status == SnapshotStatus::making) changed.snapshot_status = SnapshotStatus::none;
    // A version that is there goes on serving; what failed is the attempt to make a newer one.
    changed.status = TemplateStatus::failed;
    changed.error = run.error;
    changed.updated_at = wall_now();
    (void)store(self, changed);
  }
  if (!state.running.empty()) return;
  for (auto& promise : state.draining) deliver_done(promise);
  state.draining.clear();
}

void run_over(Self self, const RunRecord& run, const Template& made) {
  publish_outcome(self, run, made);
  self->send(self->state.snapshot_maker, ended_atom_v, run.id);
}

/// A run tells its end before it ends: one that did not has died.
void run_died(Self self, const caf::down_msg& down) {
  auto& state = self->state;
  const auto found = std::find_if(state.running.begin(), state.running.end(),
                                  [&](const auto& entry) { return entry.second.run.address() == down.source; });
  if (found == state.running.end()) return;
  const auto run = state.services->boards->runs.find(found->second.run_id);
  RunRecord ended = run ? *run : RunRecord{};
  ended.id = found->second.run_id;
  ended.owner = found->second.request.owner;
  ended.subject = found->second.request.name;
  run_ended(ended, RunStatus::failed,
            Error{.code = ErrorCode::internal,
                  .attempted = "warm up",
                  .subject = ended.subject,
                  .reason = "its run died: " + self->system().render(down.reason),
                  .mend = "try again"},
            precise_now());
  self->send(state.recorder, record_atom_v, ended);
  self->send(state.image_puller, cancel_atom_v, ended.id);
  self->send(state.layer_extractor, cancel_atom_v, ended.id);
  self->send(state.ext4_builder, cancel_atom_v, ended.id);
  self->send(state.image_puller, ended_atom_v, ended.id);
  run_over(self, ended, {});
}

caf::result<void> remove(Self self, const std::string& owner, const std::string& name, bool force) {
  auto& state = self->state;
  const auto key = template_key(owner, name);
  const auto entry = state.services->boards->templates.find(key);
  if (!entry)
    return to_caf({.code = ErrorCode::template_not_found,
                   .attempted = "remove template",
                   .subject = name,
                   .reason = "no template has that name",
                   .mend = "GET /api/v1/templates lists them"});
  if (state.running.contains(key))
    return to_caf({.code = ErrorCode::template_in_use,
                   .attempted = "remove template",
                   .subject = name,
                   .reason = "a warmup of it is on its way",
                   .mend = "wait for it"});
  const auto& boards = *state.services->boards;
  const auto stands_on_it = [&](const auto& sandbox) { return sandbox->rootfs_identity == entry->rootfs.identity; };
  const auto sandboxes = std::ranges::count_if(boards.sandboxes.all(), [&](const auto& sandbox) {
    return stands_on_it(sandbox) && sandbox->template_name == name && sandbox->owner == owner;
  });
  if (sandboxes != 0 && !force)
    return to_caf({.code = ErrorCode::template_in_use,
                   .attempted = "remove template",
                   .subject = name,
                   .reason = std::to_string(sandboxes) + " sandboxes stand on it",
                   .mend = "end them first, or add ?force=1: the files then stay until the last of them is gone"});
  if (auto gone = delete_record(*state.services->control_store, kTemplateKind, key); !gone) return to_caf(gone.error());
  state.services->boards->templates.erase(key);
  bool shared = std::ranges::any_of(all_with_files(boards), stands_on_it);
  for (const auto& other : state.services->boards->templates.all())
    shared = shared || other->rootfs.identity == entry->rootfs.identity;
  unlink_rootfs_name(state.services->cache.rootfs, name);
  collect_snapshots(*state.services);
  if (!shared && !entry->rootfs.identity.empty())
    (void)remove_rootfs(state.services->cache.rootfs, entry->rootfs.identity);
  return caf::unit;
}

/// Where the other node's snapshot did not come along, as it fits no other machine, one is made here in its own time.
caf::result<Template> adopt(Self self, Template entry) {
  auto& state = self->state;
  const auto key = template_key(entry.owner, entry.name);
  if (state.running.contains(key))
    return to_caf({.code = ErrorCode::conflict,
                   .attempted = "keep a fetched template",
                   .subject = entry.name,
                   .reason = "a warmup of it is on its way here",
                   .mend = "wait for it",
                   .transient = true});
  entry.status = TemplateStatus::ready;
  entry.served = true;
  entry.error.reset();
  entry.snapshot_error.reset();
  const bool snapshot_is_here = entry.snapshot_status == SnapshotStatus::ready;
  if (!snapshot_is_here && entry.disk.empty()) entry.snapshot_key.clear();
  if (!snapshot_is_here) entry.snapshot_status = SnapshotStatus::none;
  if (auto stored = store(self, entry); !stored) return to_caf(stored.error());
  (void)link_rootfs_name(state.services->cache.rootfs, entry.rootfs, entry.name);
  if (entry.snapshot && !snapshot_is_here) self->send(state.snapshot_maker, snapshot_atom_v, entry);
  return entry;
}

}  // namespace

TemplateRegistryActor::behavior_type template_registry(Self self, SharedServices services,
                                                       ImagePullerActor image_puller,
                                                       LayerExtractorActor layer_extractor,
                                                       Ext4BuilderActor ext4_builder, SnapshotMakerActor snapshot_maker,
                                                       RunRecorderActor recorder) {
  auto& state = self->state;
  state.services = std::move(services);
  state.image_puller = std::move(image_puller);
  state.layer_extractor = std::move(layer_extractor);
  state.ext4_builder = std::move(ext4_builder);
  state.snapshot_maker = std::move(snapshot_maker);
  state.recorder = std::move(recorder);
  self->set_down_handler([self](const caf::down_msg& down) { run_died(self, down); });
  return {
      [self](warmup_atom, const WarmupRequest& request) { return warmup(self, request); },
      [self](publish_atom, const WarmupCall& call, const BuiltImage& built) { return publish(self, call, built); },
      [self](remove_atom, const std::string& owner, const std::string& name, bool force) {
        return remove(self, owner, name, force);
      },
      [self](publish_atom, const Template& entry) -> caf::result<Template> {
        const auto key = template_key(entry.owner, entry.name);
        if (self->state.services->boards->templates.find(key) || self->state.running.contains(key))
          return to_caf({.code = ErrorCode::conflict,
                         .attempted = "publish template",
                         .subject = entry.name,
                         .reason = "there is a template of that name",
                         .mend = "use another name, or delete it first"});
        if (auto stored = store(self, entry); !stored) return to_caf(stored.error());
        return entry;
      },
      [self](adopt_atom, const Template& entry) { return adopt(self, entry); },
      [self](ended_atom, const RunRecord& run, const Template& made) { run_over(self, run, made); },
      [self](drain_atom) -> caf::result<void> {
        self->state.stopping = true;
        if (self->state.running.empty()) return caf::unit;
        for (auto& [key, running] : self->state.running) self->send(running.run, cancel_atom_v);
        self->state.draining.push_back(self->make_response_promise<void>());
        return self->state.draining.back();
      },
  };
}

}  // namespace nanobox
