#include "actors/sandbox_registry.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "actors/boot_run.hpp"
#include "actors/record_tables.hpp"
#include "pipeline/store/record_store.hpp"

namespace nanobox {

namespace {

using Self = SandboxRegistryActor::stateful_pointer<SandboxRegistryState>;
constexpr std::chrono::hours kFailedKept{1};
constexpr std::chrono::seconds kEndDeadline{60};
constexpr std::chrono::milliseconds kEndAgain{500};

Result<void> store(Self self, const Sandbox& sandbox) {
  NANOBOX_TRY(
      put_record(*self->state.services->control_store, kSandboxKind, sandbox.id, sandbox.owner, to_record(sandbox)));
  self->state.services->boards->sandboxes.publish(sandbox.id, sandbox);
  return {};
}

void forget(Self self, const std::string& id) {
  if (auto gone = delete_record(*self->state.services->control_store, kSandboxKind, id); !gone)
    spdlog::error("{}", describe(gone.error()));
  self->state.services->boards->sandboxes.erase(id);
}

Error not_found(const std::string& id) {
  return {.code = ErrorCode::sandbox_not_found,
          .attempted = "find sandbox",
          .subject = id,
          .reason = "there is none with that id",
          .mend = "GET /api/v1/sandboxes lists them"};
}

/// Looks at the deadlines once the next of them has passed.
void look_again_at(Self self, WallTime when) {
  self->delayed_send(self, std::max(when - wall_now(), std::chrono::milliseconds(0)) + std::chrono::milliseconds(1),
                     tick_atom_v);
}

caf::result<Sandbox> create(Self self, BootRequest request) {
  auto& state = self->state;
  auto& sandbox = request.sandbox;
  if (!state.drain_mode.empty())
    return to_caf({.code = ErrorCode::shutting_down,
                   .attempted = "create a sandbox",
                   .subject = "",
                   .reason = "the server is stopping",
                   .mend = "try again later"});
  const auto entry = state.services->boards->templates.find(template_key(sandbox.owner, sandbox.template_name));
  if (!entry)
    return to_caf({.code = ErrorCode::template_not_found,
                   .attempted = "create a sandbox from template",
                   .subject = sandbox.template_name,
                   .reason = "no template has that name",
                   .mend = "POST /api/v1/templates/warmup makes one"});
  if (!entry->usable())
    return to_caf({.code = ErrorCode::template_not_ready,
                   .attempted = "create a sandbox from template",
                   .subject = sandbox.template_name,
                   .reason = "it is " + std::string(to_string(entry->status)),
                   .mend = "wait until its status says ready"});
  request.image = entry->config;
  sandbox.image_digest = entry->digest;
  sandbox.rootfs_identity = entry->rootfs.identity;
  sandbox.rootfs_path = entry->rootfs.image_path.string();
  sandbox.node_id = state.services->node_id;
  sandbox.status = SandboxStatus::creating;
  sandbox.created_at = wall_now();
  if (state.services->driver) sandbox.vmm = to_string(state.services->driver->kind());
  if ((static_cast<std::uint64_t>(sandbox.resources.disk_mb) << 20) < entry->rootfs.size_bytes)
    return to_caf(
        {.code = ErrorCode::invalid_value,
         .attempted = "create a sandbox",
         .subject = "",
         .reason = "disk_mb is below the root's size",
         .mend = "ask for at least " + std::to_string((entry->rootfs.size_bytes >> 20) + 1) + " MiB",
         .fields = {{"/resources/disk_mb",
                     "must be at least " + std::to_string((entry->rootfs.size_bytes + (1 << 20) - 1) >> 20)}}});
  if (auto stored = store(self, sandbox); !stored) return to_caf(stored.error());
  const auto stages = BootPipeline::describe();
  auto record = make_run("boot", sandbox.id, sandbox.owner, state.services->node_id, {stages.begin(), stages.end()});
  state.services->boards->runs.publish(record.id, record);
  const auto id = sandbox.id;
  auto promise = self->make_response_promise<Sandbox>();
  auto run = self->spawn(boot_run, std::move(record), state.concerns, std::move(request), state.recorder,
                         SandboxRegistryActor(self));
  self->monitor(run);
  state.booting.emplace(id, SandboxRegistryState::Booting{run, promise, {}});
  return promise;
}

void end_on_node(Self self, const std::string& id);

void boot_over(Self self, const RunRecord& run, Sandbox sandbox) {
  auto& state = self->state;
  const auto found = state.booting.find(run.subject);
  if (found == state.booting.end()) return;
  auto booting = std::move(found->second);
  state.booting.erase(found);
  if (run.status != RunStatus::succeeded) {
    forget(self, run.subject);
    booting.created.deliver(to_caf(run.error.value_or(Error{.code = ErrorCode::cancelled,
                                                            .attempted = "create sandbox",
                                                            .subject = run.subject,
                                                            .reason = "it was cancelled",
                                                            .mend = ""})));
    for (auto& remover : booting.removers) deliver_done(remover);
  } else {
    sandbox.status = SandboxStatus::running;
    sandbox.expires_at = wall_now() + std::chrono::seconds(sandbox.timeout_sec);
    if (auto stored = store(self, sandbox); !stored) spdlog::error("{}", describe(stored.error()));
    look_again_at(self, *sandbox.expires_at);
    booting.created.deliver(sandbox);
    if (!booting.removers.empty() || state.drain_mode == "destroy") {
      auto& removers = state.removing[sandbox.id];
      removers.insert(removers.end(), booting.removers.begin(), booting.removers.end());
      end_on_node(self, sandbox.id);
    }
  }
  if (state.booting.empty() && state.removing.empty())
    for (auto& promise : std::exchange(state.draining, {})) deliver_done(promise);
}

/// Ends the sandbox' VM and files, then forgets it and tells all who wait.
void end_on_node(Self self, const std::string& id) {
  auto& boards = *self->state.services->boards;
  if (const auto sandbox = boards.sandboxes.find(id)) {
    Sandbox stopping = *sandbox;
    stopping.status = SandboxStatus::stopping;
    if (auto stored = store(self, stopping); !stored) spdlog::error("{}", describe(stored.error()));
  }
  const auto over = [self, id] {
    auto& state = self->state;
    caf::anon_send(state.concerns.scheduler, undo_atom_v, id);
    forget(self, id);
    for (auto& promise : state.removing[id]) deliver_done(promise);
    state.removing.erase(id);
    if (state.booting.empty() && state.removing.empty())
      for (auto& promise : std::exchange(state.draining, {})) deliver_done(promise);
  };
  self->request(self->state.concerns.node_agent, kEndDeadline, end_atom_v, id)
      .then([over] { over(); },
            [self, over, id](caf::error& failed) {
              const auto error = from_caf(failed, "end sandbox " + id);
              spdlog::error("{}", describe(error));
              if (error.transient)
                self->delayed_send(self, kEndAgain, end_atom_v, id);
              else
                over();
            });
}

/// A run tells its end before it ends: one that did not has died, and nothing was undone.
void run_died(Self self, const caf::down_msg& down) {
  auto& state = self->state;
  const auto found = std::find_if(state.booting.begin(), state.booting.end(),
                                  [&](const auto& entry) { return entry.second.run.address() == down.source; });
  if (found == state.booting.end()) return;
  const auto id = found->first;
  auto booting = std::move(found->second);
  state.booting.erase(found);
  Error error{.code = ErrorCode::internal,
              .attempted = "create sandbox",
              .subject = id,
              .reason = "its run died: " + self->system().render(down.reason),
              .mend = "try again"};
  for (const auto& run : state.services->boards->runs.all()) {
    if (run->subject != id || run->ended_at) continue;
    RunRecord ended = *run;
    run_ended(ended, RunStatus::failed, error, wall_now());
    self->send(state.recorder, record_atom_v, std::move(ended));
  }
  booting.created.deliver(to_caf(error));
  state.removing[id] = std::move(booting.removers);
  end_on_node(self, id);
}

caf::result<void> remove(Self self, const std::string& id) {
  auto& state = self->state;
  auto promise = self->make_response_promise<void>();
  if (const auto booting = state.booting.find(id); booting != state.booting.end()) {
    booting->second.removers.push_back(promise);
    self->send(booting->second.run, cancel_atom_v);
    return promise;
  }
  if (!state.services->boards->sandboxes.find(id)) return to_caf(not_found(id));
  auto& waiting = state.removing[id];
  waiting.push_back(promise);
  if (waiting.size() == 1) end_on_node(self, id);
  return promise;
}

caf::result<Sandbox> keepalive(Self self, const std::string& id, std::uint32_t timeout_sec) {
  const auto sandbox = self->state.services->boards->sandboxes.find(id);
  if (!sandbox) return to_caf(not_found(id));
  if (sandbox->status != SandboxStatus::running)
    return to_caf({.code = ErrorCode::sandbox_not_running,
                   .attempted = "keep sandbox alive",
                   .subject = id,
                   .reason = "it is " + std::string(to_string(sandbox->status)),
                   .mend = ""});
  Sandbox kept = *sandbox;
  kept.timeout_sec = timeout_sec;
  kept.expires_at = wall_now() + std::chrono::seconds(timeout_sec);
  if (auto stored = store(self, kept); !stored) return to_caf(stored.error());
  look_again_at(self, *kept.expires_at);
  return kept;
}

void expire(Self self) {
  const auto now = wall_now();
  for (const auto& sandbox : self->state.services->boards->sandboxes.all()) {
    const bool expired =
        sandbox->status == SandboxStatus::running && sandbox->expires_at && *sandbox->expires_at <= now;
    const bool old =
        sandbox->status == SandboxStatus::failed && sandbox->failed_at && *sandbox->failed_at + kFailedKept <= now;
    if (!(expired || old) || self->state.removing.contains(sandbox->id)) continue;
    spdlog::info("sandbox {}: {}", sandbox->id, expired ? "its time is over" : "failed an hour ago");
    self->state.removing[sandbox->id];
    end_on_node(self, sandbox->id);
  }
}

void vm_ended(Self self, const std::string& id, const std::string& reason) {
  auto& state = self->state;
  const auto sandbox = state.services->boards->sandboxes.find(id);
  if (!sandbox || state.booting.contains(id) || state.removing.contains(id)) return;
  Sandbox failed = *sandbox;
  failed.status = SandboxStatus::failed;
  failed.reason = reason;
  failed.failed_at = wall_now();
  failed.expires_at.reset();
  spdlog::warn("sandbox {} failed: {}", id, reason);
  if (auto stored = store(self, failed); !stored) spdlog::error("{}", describe(stored.error()));
  look_again_at(self, *failed.failed_at + kFailedKept);
  caf::anon_send(state.concerns.scheduler, undo_atom_v, id);
  caf::anon_send(state.concerns.node_agent, end_atom_v, id);
}

caf::result<void> adopt(Self self) {
  auto& state = self->state;
  auto records = all_records(*state.services->control_store, kSandboxKind);
  if (!records) return to_caf(records.error());
  auto promise = self->make_response_promise<void>();
  auto pending = std::make_shared<std::size_t>(1);
  auto one_done = [promise, pending]() mutable {
    if (--*pending == 0) deliver_done(promise);
  };
  for (const auto& record : *records) {
    auto sandbox = sandbox_from_record(record.value);
    if (!sandbox || state.booting.contains(sandbox->id) || state.removing.contains(sandbox->id)) continue;
    ++*pending;
    state.services->boards->sandboxes.publish(sandbox->id, *sandbox);
    if (sandbox->status == SandboxStatus::running) {
      self->request(state.concerns.node_agent, kEndDeadline, adopt_atom_v, *sandbox)
          .then(
              [self, sandbox = *sandbox, one_done]() mutable {
                spdlog::info("sandbox {}: adopted", sandbox.id);
                self->send(self->state.concerns.scheduler, adopt_atom_v, sandbox);
                if (sandbox.expires_at) look_again_at(self, *sandbox.expires_at);
                one_done();
              },
              [self, id = sandbox->id, one_done](caf::error& error) mutable {
                vm_ended(self, id, describe(from_caf(error, "adopt the sandbox's VM")));
                one_done();
              });
    } else if (sandbox->status == SandboxStatus::failed) {
      look_again_at(self, sandbox->failed_at.value_or(wall_now()) + kFailedKept);
      one_done();
    } else {
      // Half made or half ended when the former daemon went.
      self->request(SandboxRegistryActor(self), kEndDeadline, remove_atom_v, sandbox->id)
          .then([one_done]() mutable { one_done(); }, [one_done](caf::error&) mutable { one_done(); });
    }
  }
  one_done();
  return promise;
}

}  // namespace

SandboxRegistryActor::behavior_type sandbox_registry(Self self, SharedServices services, BootConcerns concerns,
                                                     RunRecorderActor recorder) {
  self->state.services = std::move(services);
  self->state.concerns = std::move(concerns);
  self->state.recorder = std::move(recorder);
  self->set_down_handler([self](const caf::down_msg& down) { run_died(self, down); });
  return {
      [self](create_atom, const BootRequest& request) { return create(self, request); },
      [self](cancel_atom, const std::string& id) {
        const auto booting = self->state.booting.find(id);
        if (booting != self->state.booting.end()) self->send(booting->second.run, cancel_atom_v);
      },
      [self](remove_atom, const std::string& id) { return remove(self, id); },
      [self](keep_atom, const std::string& id, std::uint32_t timeout_sec) { return keepalive(self, id, timeout_sec); },
      [self](ended_atom, const RunRecord& run, const Sandbox& sandbox) { boot_over(self, run, sandbox); },
      [self](ended_atom, const std::string& id, const std::string& reason) { vm_ended(self, id, reason); },
      [self](tick_atom) { expire(self); },
      [self](end_atom, const std::string& id) { end_on_node(self, id); },
      [self](adopt_atom) { return adopt(self); },
      [self](drain_atom, const std::string& mode) -> caf::result<void> {
        auto& state = self->state;
        state.drain_mode = mode;
        for (auto& [id, booting] : state.booting) self->send(booting.run, cancel_atom_v);
        if (mode == "destroy")
          for (const auto& sandbox : state.services->boards->sandboxes.all())
            if (!state.booting.contains(sandbox->id) && !state.removing.contains(sandbox->id)) {
              state.removing[sandbox->id];
              end_on_node(self, sandbox->id);
            }
        if (state.booting.empty() && state.removing.empty()) return caf::unit;
        state.draining.push_back(self->make_response_promise<void>());
        return state.draining.back();
      },
  };
}

}  // namespace nanobox
