#include "actors/sandbox_registry.hpp"

#include <algorithm>

#include "actors/boot_run.hpp"
#include "actors/kept_states.hpp"
#include "actors/record_tables.hpp"
#include "actors/sandbox_saving.hpp"
#include "actors/sandbox_steps.hpp"
#include "actors/serving_template.hpp"
#include "actors/state_age.hpp"
#include "actors/template_snapshot.hpp"
#include "actors/vmm_stock.hpp"
#include "config/log.hpp"
#include "pipeline/store/record_store.hpp"

namespace nanobox {

namespace {

using Self = SandboxRegistrySelf;
constexpr std::chrono::hours kFailedKept{1};
constexpr std::chrono::seconds kEndDeadline{60};
constexpr std::chrono::minutes kPoolDeadline{2};
constexpr std::chrono::milliseconds kEndAgain{500};
constexpr std::chrono::minutes kDeathsAgain{1};
constexpr const char* kDeleted = "it was deleted";
constexpr const char* kCancelled = "whoever asked for it was gone before it was made";
constexpr const char* kShutdown = "its daemon stopped, which ends its sandboxes";
/// So many empty VMMs wait for a template that somebody uses.
constexpr std::uint32_t kStockOfUsed = 2;

/// Ends what a sandbox has on the node; only then its address is another's to have.
void end_and_release(
    Self self, const std::string& id, std::function<void()> next = [] {}) {
  self->request(self->state.concerns.node_agent, kEndDeadline, end_atom_v, id)
      .then(
          [self, id, next] {
            release_place(self->state.concerns, id);
            next();
          },
          [id, next](caf::error& error) {
            log_error(LogComponent::sandbox, {{"sandbox", id}}, "{}", describe(from_caf(error, "end the VM of " + id)));
            next();
          });
}

/// The sandbox' record goes; with it comes that of its death, where it has one.
void forget(Self self, const std::string& id, const std::optional<SandboxDeath>& death = {}) {
  auto& state = self->state;
  std::vector<RecordChange> changes{
      {.kind = std::string(kSandboxKind), .key = id, .expect = {}, .owner = {}, .value = {}}};
  const bool is_news = death && state.deaths->is_news(*death);
  if (is_news) changes.push_back(state.deaths->change_for(*death));
  if (auto gone = state.services->control_store->commit(changes); !gone)
    log_error(LogComponent::sandbox, {}, "{}", describe(gone.error()));
  if (is_news) {
    state.deaths->show(*death);  // before it goes: it is always known where it is
    look_again_at(self, death->ended_at + kDeathKept);
  }
  state.services->boards->sandboxes.erase(id);
  state.remains->erase(id);
  state.rested.erase(id);
}

/// What its VM left, once.
std::optional<VmRemains> take_remains(Self self, const std::string& id) {
  const auto found = self->state.remains->find(id);
  if (!found) return std::nullopt;
  self->state.remains->erase(id);
  return *found;
}

/// With what its VMs before its pauses had taken.
std::optional<VmSpent> spent_in_all(Self self, const std::string& id, const std::optional<VmSpent>& spent) {
  const auto before = self->state.rested.find(id);
  if (before == self->state.rested.end()) return spent;
  return together(before->second, spent.value_or(VmSpent{}));
}

SandboxUsage usage_of(const SandboxDeath& death, const VmSpent& spent, std::uint64_t disk_bytes) {
  return {.wall_ms = (death.ended_at - death.created_at) / std::chrono::milliseconds(1),
          .cpu_ms = spent.cpu_us / 1000,
          .memory_peak_bytes = spent.memory_peak_bytes,
          .disk_bytes = disk_bytes};
}

/// The record of one that ends now; of a paused one with all that is known.
SandboxDeath death_of(Self self, const Sandbox& sandbox, DeathCause cause, std::string reason) {
  SandboxDeath death{.id = sandbox.id,
                     .owner = sandbox.owner,
                     .template_name = sandbox.template_name,
                     .node_id = self->state.services->node_id,
                     .cause = cause,
                     .reason = std::move(reason),
                     .boot_path = sandbox.boot_path,
                     .resources = sandbox.resources,
                     .created_at = sandbox.created_at,
                     .ended_at = wall_now(),
                     .console = {},
                     .usage = {}};
  if (sandbox.status != SandboxStatus::paused) return death;
  auto remains = read_remains(sandbox.lineage.paused_state);
  death.console = std::move(remains.console);
  if (remains.spent && !sandbox.lineage.disk_layers.empty())
    death.usage = usage_of(death, *remains.spent, disk_bytes_of(sandbox.lineage.disk_layers.back()));
  return death;
}

/// Completed by what its VM left.
SandboxDeath with_remains(Self self, SandboxDeath death, WallTime ended_at) {
  death.ended_at = ended_at;
  auto remains = take_remains(self, death.id);
  if (!remains || death.usage) return death;
  death.console = std::move(remains->console);
  if (const auto spent = spent_in_all(self, death.id, remains->spent))
    death.usage = usage_of(death, *spent, remains->disk_bytes);
  return death;
}

void note_death(Self self, const SandboxDeath& death) {
  auto& deaths = *self->state.deaths;
  if (!deaths.is_news(death)) return;
  if (auto stored = self->state.services->control_store->commit({deaths.change_for(death)}); !stored)
    log_error(LogComponent::sandbox, {}, "{}", describe(stored.error()));
  deaths.show(death);
  look_again_at(self, death.ended_at + kDeathKept);
}

/// The supervisor's words for people end with the console, which a record has apart.
std::string without_console(const std::string& reason) {
  return reason.substr(0, reason.find("; the console's last lines:\n"));
}

/// Fills in what the template decides. @errors why no sandbox of it can be made now
Result<std::shared_ptr<const Template>> take_template(Self self, Sandbox& sandbox) {
  const auto& services = *self->state.services;
  auto entry = NANOBOX_TRY(serving_template(*services.boards, sandbox));
  stand_on(services, *entry, sandbox);
  sandbox.status = SandboxStatus::creating;
  sandbox.created_at = wall_now();
  return entry;
}

/// Until the sandbox' own record says that it stands on the template's snapshot.
std::shared_ptr<const void> hold_snapshot(const Services& services, const Template& entry) {
  if (entry.snapshot_key.empty()) return nullptr;
  return services.snapshots->hold(services.snapshots->template_folder(entry.snapshot_key, 1, 1).parent_path());
}

/// Has the sandbox come from the template's snapshot of its size. @errors why there is none
Result<void> take_snapshot(Self self, const Template& entry, BootRequest& request) {
  const auto& services = *self->state.services;
  auto& sandbox = request.sandbox;
  const auto saved = NANOBOX_TRY(usable_snapshot(services, entry, sandbox.resources));
  if ((std::uint64_t{sandbox.resources.disk_mb} << 20) < saved.disk_bytes)
    return fail({.code = ErrorCode::boot_path_unavailable,
                 .attempted = "boot a sandbox from a snapshot of",
                 .subject = entry.name,
                 .reason = "its disk has " + std::to_string(saved.disk_bytes >> 20) + " MiB, and disks do not shrink",
                 .mend = "use boot auto or cold, or a larger disk_mb"});
  begin_from(saved, request);
  sandbox.boot_path = "snapshot";
  sandbox.state_age_ms = state_age_ms(saved.taken_at);
  self->send(self->state.stock, keep_atom_v, stock_shape(request), kStockOfUsed);
  return {};
}

/// What may be wrong with a snapshot or its VMM, and not with the sandbox that was asked for.
bool is_of_the_state(ErrorCode code) {
  switch (code) {
    case ErrorCode::snapshot_invalid:
    case ErrorCode::vmm_failed:
    case ErrorCode::guest_gone:
    case ErrorCode::guest_timeout:
    case ErrorCode::guest_protocol:
    case ErrorCode::guest_panicked:
    case ErrorCode::deadline_exceeded:
    case ErrorCode::io_failed:
      return true;
    default:
      return false;
  }
}

using SandboxPromise = caf::typed_response_promise<Sandbox>;

void boot_cold(Self self, BootRequest request, SandboxPromise promise) {
  start_boot(self, std::move(request), false,
             [promise](Result<Sandbox> booted) { deliver_result(promise, std::move(booted)); });
}

Error was_cancelled(const std::string& id) {
  return {.code = ErrorCode::cancelled,
          .attempted = "create sandbox",
          .subject = id,
          .reason = "it was cancelled",
          .mend = ""};
}

/// From the snapshot, if there is one, else cold; `way` may insist.
void boot(Self self, BootRequest request, SandboxPromise promise) {
  const auto way = request.way;
  const auto entry = take_template(self, request.sandbox);
  if (!entry) return deliver_result<Sandbox>(promise, fail(entry.error()));
  if (way == BootWay::cold) return boot_cold(self, std::move(request), promise);
  BootRequest cold = request;
  const auto held = hold_snapshot(*self->state.services, **entry);
  if (auto taken = take_snapshot(self, **entry, request); !taken) {
    if (way == BootWay::snapshot) {
      auto error = taken.error();
      error.code = ErrorCode::boot_path_unavailable;
      return deliver_result<Sandbox>(promise, fail(error));
    }
    if (taken.error().code == ErrorCode::snapshot_invalid)
      log_warn(LogComponent::sandbox, {{"sandbox", cold.sandbox.id}, {"template", (*entry)->name}}, "{}",
               describe(taken.error()));
    if (taken.error().code != ErrorCode::boot_path_unavailable || (*entry)->snapshot_key.empty())
      return boot_cold(self, std::move(cold), promise);
    Template wished = **entry;
    wished.resources.vcpu = cold.sandbox.resources.vcpu;
    wished.resources.memory_mb = cold.sandbox.resources.memory_mb;
    start_boot(self, std::move(cold), false, [self, promise, wished = std::move(wished)](Result<Sandbox> booted) {
      // Once the sandbox runs: the next of its size need not boot.
      if (booted) self->send(self->state.snapshots, snapshot_atom_v, wished);
      deliver_result(promise, std::move(booted));
    });
    return;
  }
  const auto folder = request.from->saved.folder;
  start_boot(self, std::move(request), false,
             [self, promise, folder, way, cold = std::move(cold)](Result<Sandbox> booted) mutable {
               if (booted) return deliver_result(promise, std::move(booted));
               if (booted.error().code == ErrorCode::snapshot_invalid) self->state.services->snapshots->drop(folder);
               const bool again =
                   way == BootWay::automatic && self->state.drain_mode.empty() && is_of_the_state(booted.error().code);
               if (!again) return deliver_result(promise, std::move(booted));
               log_warn(LogComponent::sandbox, {{"sandbox", cold.sandbox.id}},
                        "boots cold, for its snapshot did not: {}", describe(booted.error()));
               boot_cold(self, std::move(cold), promise);
             });
}

/// A VM of the pool became the sandbox.
void taken_from_pool(Self self, Sandbox sandbox, SandboxPromise promise) {
  auto& state = self->state;
  if (auto taking = state.taking.extract(sandbox.id); !taking.empty() && taking.mapped().cancelled) {
    promise.deliver(to_caf(was_cancelled(sandbox.id)));
    state.removing[sandbox.id] = std::move(taking.mapped().removers);
    return end_sandbox(self, sandbox.id, DeathCause::asked, kCancelled);
  }
  sandbox.status = SandboxStatus::running;
  sandbox.expires_at = wall_now() + std::chrono::seconds(sandbox.timeout_sec);
  if (auto stored = store_sandbox(self, sandbox); !stored)
    log_error(LogComponent::sandbox, {{"sandbox", sandbox.id}}, "{}", describe(stored.error()));
  look_again_at(self, *sandbox.expires_at);
  const auto stages = BootPipeline::describe();
  auto run = make_run("boot", sandbox.id, sandbox.owner, state.services->node_id, {stages.begin(), stages.end()});
  run.created_at = sandbox.created_at;
  stage_started(run, stages.size() - 1, sandbox.created_at);
  stage_ended(run, stages.size() - 1, precise_now());
  run_ended(run, RunStatus::succeeded, std::nullopt, precise_now());
  self->send(state.recorder, record_atom_v, std::move(run));
  promise.deliver(sandbox);
  if (state.drain_mode == "destroy" && !state.removing.contains(sandbox.id)) {
    state.removing[sandbox.id];
    end_sandbox(self, sandbox.id, DeathCause::shutdown, kShutdown);
  }
}

caf::result<Sandbox> create(Self self, BootRequest request) {
  auto& state = self->state;
  if (!state.drain_mode.empty())
    return to_caf({.code = ErrorCode::shutting_down,
                   .attempted = "create a sandbox",
                   .subject = "",
                   .reason = "the server is stopping",
                   .mend = "try again later"});
  if (!state.services->network && request.sandbox.network.mode != "isolated")
    return to_caf(state.services->network_problem);
  auto promise = self->make_response_promise<Sandbox>();
  const auto way = request.way;
  const auto& sandbox = request.sandbox;
  const auto pool = state.services->boards->pools.find(template_key(sandbox.owner, sandbox.template_name));
  const bool from_pool = way == BootWay::pool || (way == BootWay::automatic && pool && pool->ready > 0);
  if (!from_pool) {
    boot(self, std::move(request), promise);
    return promise;
  }
  BootRequest wanted = request;
  const auto entry = take_template(self, wanted.sandbox);
  if (!entry) {
    promise.deliver(to_caf(entry.error()));
    return promise;
  }
  wanted.sandbox.boot_path = "pool";
  state.taking[request.sandbox.id];
  self->request(state.pool, kPoolDeadline, take_atom_v, wanted)
      .then([self, promise, held = hold_snapshot(*state.services, **entry)](
                Sandbox& taken) { taken_from_pool(self, std::move(taken), promise); },
            [self, promise, request, way](caf::error& error) mutable {
              auto taking = self->state.taking.extract(request.sandbox.id);
              if (!taking.empty() && taking.mapped().cancelled) {
                promise.deliver(to_caf(was_cancelled(request.sandbox.id)));
                for (auto& remover : taking.mapped().removers) deliver_done(remover);
                return end_draining(self);
              }
              if (way == BootWay::pool)
                promise.deliver(error);
              else
                boot(self, std::move(request), promise);
            });
  return promise;
}

/// A resume that failed: its saved state is as it was.
void rest_again(Self self, Sandbox resuming) {
  resuming.status = SandboxStatus::paused;
  resuming.generation -= 1;
  if (auto stored = store_sandbox(self, resuming); !stored)
    log_error(LogComponent::sandbox, {{"sandbox", resuming.id}}, "{}", describe(stored.error()));
}

void boot_over(Self self, const RunRecord& run, Sandbox sandbox) {
  auto& state = self->state;
  const auto found = state.booting.find(run.subject);
  if (found == state.booting.end()) return;
  auto booting = std::move(found->second);
  state.booting.erase(found);
  if (run.status != RunStatus::succeeded) {
    // Another failure would have it tried otherwise.
    const auto error = booting.cancelled ? was_cancelled(run.subject) : run.error.value_or(was_cancelled(run.subject));
    if (booting.resumes) {
      rest_again(self, booting.request.sandbox);
    } else {
      forget(self, run.subject);
    }
    booting.done(fail(error));
    if (booting.resumes && !booting.removers.empty()) {
      state.removing[run.subject] = std::move(booting.removers);
      end_sandbox(self, run.subject, DeathCause::asked, kDeleted);
    } else {
      for (auto& remover : booting.removers) deliver_done(remover);
    }
    collect_layers(self);
  } else {
    sandbox.status = SandboxStatus::running;
    sandbox.expires_at = wall_now() + std::chrono::seconds(sandbox.timeout_sec);
    if (auto stored = store_sandbox(self, sandbox); !stored)
      log_error(LogComponent::sandbox, {{"sandbox", sandbox.id}, {"run", run.id}}, "{}", describe(stored.error()));
    look_again_at(self, *sandbox.expires_at);
    const auto id = sandbox.id;
    booting.done(std::move(sandbox));
    if (!booting.removers.empty() || state.drain_mode == "destroy") {
      auto& removers = state.removing[id];
      removers.insert(removers.end(), booting.removers.begin(), booting.removers.end());
      if (removers.empty())
        end_sandbox(self, id, DeathCause::shutdown, kShutdown);
      else
        end_sandbox(self, id, DeathCause::asked, kDeleted);
    }
  }
  end_draining(self);
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
    run_ended(ended, RunStatus::failed, error, precise_now());
    self->send(state.recorder, record_atom_v, std::move(ended));
  }
  if (booting.resumes) {
    rest_again(self, booting.request.sandbox);
    // At once: the next try may follow at once.
    caf::anon_send(state.concerns.node_agent, end_atom_v, id);
    release_place(state.concerns, id);
  }
  booting.done(fail(error));
  if (booting.resumes && booting.removers.empty()) return;
  state.removing[id] = std::move(booting.removers);
  if (state.removing[id].empty())
    end_sandbox(self, id, DeathCause::failed, error.reason);
  else
    end_sandbox(self, id, DeathCause::asked, kDeleted);
}

caf::result<void> remove(Self self, const std::string& id) {
  auto& state = self->state;
  if (const auto taking = state.taking.find(id); taking != state.taking.end()) {
    taking->second.cancelled = true;
    taking->second.removers.push_back(self->make_response_promise<void>());
    return taking->second.removers.back();
  }
  const auto booting = state.booting.find(id);
  if (booting == state.booting.end() && !state.services->boards->sandboxes.find(id)) return to_caf(sandbox_missing(id));
  auto promise = self->make_response_promise<void>();
  if (booting != state.booting.end()) {
    booting->second.removers.push_back(promise);
    booting->second.cancelled = true;
    self->send(booting->second.run, cancel_atom_v);
    return promise;
  }
  auto& waiting = state.removing[id];
  waiting.push_back(promise);
  if (waiting.size() == 1) end_sandbox(self, id, DeathCause::asked, kDeleted);
  return promise;
}

caf::result<Sandbox> keepalive(Self self, const std::string& id, std::uint32_t timeout_sec) {
  const auto sandbox = self->state.services->boards->sandboxes.find(id);
  if (!sandbox) return to_caf(sandbox_missing(id));
  if (sandbox->status != SandboxStatus::running) return to_caf(not_running(*sandbox, "keep sandbox alive"));
  Sandbox kept = *sandbox;
  kept.timeout_sec = timeout_sec;
  kept.expires_at = wall_now() + std::chrono::seconds(timeout_sec);
  if (auto stored = store_sandbox(self, kept); !stored) return to_caf(stored.error());
  look_again_at(self, *kept.expires_at);
  return kept;
}

/// Other rules for a running sandbox: in turn with its pauses and forks, so that record and rules stay together.
caf::result<Sandbox> change_network(Self self, const std::string& id, const SandboxNetwork& wanted) {
  if (!self->state.services->boards->sandboxes.find(id)) return to_caf(sandbox_missing(id));
  auto promise = self->make_response_promise<Sandbox>();
  in_turn(self, id, [self, id, wanted, promise] {
    const auto over = [self, id, promise](Result<Sandbox> changed) {
      deliver_result(promise, std::move(changed));
      turn_over(self, id);
    };
    const auto find_running = [self, id]() -> Result<Sandbox> {
      const auto sandbox = self->state.services->boards->sandboxes.find(id);
      if (!sandbox || self->state.removing.contains(id)) return fail(sandbox_missing(id));
      if (sandbox->status != SandboxStatus::running) return fail(not_running(*sandbox, "change the network of"));
      return *sandbox;
    };
    auto changed = find_running();
    if (!changed) return over(fail(changed.error()));
    const Sandbox before = *changed;
    changed->network = wanted;
    self->request(self->state.concerns.network_keeper, kEndDeadline, network_atom_v, *changed)
        .then(
            [self, over, wanted, before, find_running] {
              auto now = find_running();  // its deadline may have been moved meanwhile
              if (!now) return over(fail(now.error()));
              now->network = wanted;
              if (auto stored = store_sandbox(self, *now); !stored) {
                caf::anon_send(self->state.concerns.network_keeper, network_atom_v, before);
                return over(fail(stored.error()));
              }
              over(std::move(*now));
            },
            [over](caf::error& error) { over(fail(from_caf(error, "change the sandbox's network"))); });
  });
  return promise;
}

void expire(Self self) {
  const auto now = wall_now();
  for (const auto& sandbox : self->state.services->boards->sandboxes.all()) {
    const bool expired =
        sandbox->status == SandboxStatus::running && sandbox->expires_at && *sandbox->expires_at <= now;
    const bool old =
        sandbox->status == SandboxStatus::failed && sandbox->failed_at && *sandbox->failed_at + kFailedKept <= now;
    if (!(expired || old) || self->state.removing.contains(sandbox->id)) continue;
    if (expired && sandbox->on_timeout == "pause") {
      if (self->state.saving.contains(sandbox->id)) continue;  // looked at again when that is over
      log_info(LogComponent::sandbox, {{"sandbox", sandbox->id}}, "its time is over, it is paused");
      pause_expired(self, sandbox->id);
      continue;
    }
    log_debug(LogComponent::sandbox, {{"sandbox", sandbox->id}}, "{}",
              expired ? "its time is over" : "failed an hour ago");
    self->state.removing[sandbox->id];
    end_sandbox(self, sandbox->id, DeathCause::expired,
                "nobody kept it alive for " + std::to_string(sandbox->timeout_sec) + " s");
  }
  if (auto expired = self->state.deaths->expire(now); !expired) {
    log_error(LogComponent::sandbox, {}, "{}", describe(expired.error()));
    look_again_at(self, now + kDeathsAgain);
  }
}

void pause_to_drain(Self self, const std::string& id) {
  ++self->state.to_pause;
  const auto over = [self] {
    --self->state.to_pause;
    end_draining(self);
  };
  self->request(SandboxRegistryActor(self), kPoolDeadline, pause_atom_v, id)
      .then([over](const Sandbox&) { over(); },
            [over, id](caf::error& error) {
              log_error(LogComponent::sandbox, {{"sandbox", id}}, "{}",
                        describe(from_caf(error, "pause a sandbox at the end")));
              over();
            });
}

caf::result<void> adopt(Self self) {
  auto& state = self->state;
  auto records = all_records(*state.services->control_store, kSandboxKind);
  if (!records) return to_caf(records.error());
  if (auto loaded = state.deaths->load(); !loaded) log_error(LogComponent::sandbox, {}, "{}", describe(loaded.error()));
  for (const auto& death : state.services->boards->deaths.all()) look_again_at(self, death->ended_at + kDeathKept);
  auto promise = self->make_response_promise<void>();
  auto pending = std::make_shared<std::size_t>(1);
  auto one_done = [self, promise, pending]() mutable {
    if (--*pending != 0) return;
    collect_layers(self);
    deliver_done(promise);
  };
  for (const auto& record : *records) {
    auto sandbox = sandbox_from_record(record.value);
    if (!sandbox || state.booting.contains(sandbox->id) || state.removing.contains(sandbox->id)) continue;
    ++*pending;
    state.services->boards->sandboxes.publish(sandbox->id, *sandbox);
    if (const auto rested = read_remains(sandbox->lineage.paused_state).spent) state.rested[sandbox->id] = *rested;
    const bool was_pausing = sandbox->status == SandboxStatus::pausing;
    if (sandbox->status == SandboxStatus::resuming || sandbox->status == SandboxStatus::paused) {
      // Its state is as it was: what a VM did since, or one that was about to be ended, is forgotten.
      sandbox->status = SandboxStatus::paused;
      if (auto stored = store_sandbox(self, *sandbox); !stored)
        log_error(LogComponent::sandbox, {{"sandbox", sandbox->id}}, "{}", describe(stored.error()));
      end_and_release(self, sandbox->id, one_done);
    } else if (sandbox->status == SandboxStatus::running || was_pausing) {
      self->request(state.concerns.node_agent, kEndDeadline, adopt_atom_v, *sandbox)
          .then(
              [self, sandbox = *sandbox, was_pausing, one_done]() mutable {
                log_info(LogComponent::sandbox, {{"sandbox", sandbox.id}}, "adopted");
                const auto layers = sandbox.lineage.disk_layers.size();
                mend_lineage(*self->state.services, sandbox);
                if (was_pausing) {
                  sandbox.status = SandboxStatus::running;
                  sandbox.lineage.paused_state.clear();
                }
                if (was_pausing || layers != sandbox.lineage.disk_layers.size())
                  if (auto stored = store_sandbox(self, sandbox); !stored)
                    log_error(LogComponent::sandbox, {{"sandbox", sandbox.id}}, "{}", describe(stored.error()));
                self->send(self->state.concerns.scheduler, adopt_atom_v, sandbox);
                if (sandbox.expires_at) look_again_at(self, *sandbox.expires_at);
                one_done();
              },
              [self, sandbox = *sandbox, was_pausing, one_done](caf::error& error) mutable {
                if (was_pausing && finish_pause(*self->state.services, sandbox)) {
                  if (auto stored = store_sandbox(self, sandbox); !stored)
                    log_error(LogComponent::sandbox, {{"sandbox", sandbox.id}}, "{}", describe(stored.error()));
                  end_and_release(self, sandbox.id);
                } else {
                  vm_ended(self, sandbox.id, describe(from_caf(error, "adopt the sandbox's VM")));
                }
                one_done();
              });
    } else if (sandbox->status == SandboxStatus::failed) {
      look_again_at(self, sandbox->failed_at.value_or(wall_now()) + kFailedKept);
      if (!state.services->boards->deaths.find(sandbox->id))
        note_death(self,
                   with_remains(self, death_of(self, *sandbox, DeathCause::failed, without_console(sandbox->reason)),
                                sandbox->failed_at.value_or(wall_now())));
      end_and_release(self, sandbox->id, one_done);  // which the former daemon may have had no time for
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

Result<void> store_sandbox(Self self, Sandbox& sandbox) {
  auto& board = self->state.services->boards->sandboxes;
  const auto before = board.find(sandbox.id);
  sandbox.revision = std::max(sandbox.revision, before ? before->revision : 0) + 1;
  NANOBOX_TRY(
      put_record(*self->state.services->control_store, kSandboxKind, sandbox.id, sandbox.owner, to_record(sandbox)));
  board.publish(sandbox.id, sandbox);
  return {};
}

void look_again_at(Self self, WallTime when) {
  self->delayed_send(self, std::max(when - wall_now(), std::chrono::milliseconds(0)) + std::chrono::milliseconds(1),
                     tick_atom_v);
}

void vm_ended(Self self, const std::string& id, const std::string& reason) {
  auto& state = self->state;
  const auto sandbox = state.services->boards->sandboxes.find(id);
  if (!sandbox || state.booting.contains(id) || state.removing.contains(id)) return;
  if (sandbox->status == SandboxStatus::paused) return;  // its state is on disk, and the VM of no use any more
  if (sandbox->status == SandboxStatus::pausing && state.saving.contains(id)) {
    state.died_saving[id] = reason;
    return;
  }
  Sandbox failed = *sandbox;
  failed.status = SandboxStatus::failed;
  failed.reason = reason;
  failed.failed_at = wall_now();
  const auto left = state.remains->find(id);
  const bool by_itself = left && left->cause;
  note_death(self, with_remains(self,
                                death_of(self, *sandbox, by_itself ? *left->cause : DeathCause::failed,
                                         by_itself ? left->reason : without_console(reason)),
                                *failed.failed_at));
  failed.expires_at.reset();
  failed.lineage.paused_state.clear();
  log_debug(LogComponent::sandbox, {{"sandbox", id}}, "it fails here: {}", reason);
  if (auto stored = store_sandbox(self, failed); !stored)
    log_error(LogComponent::sandbox, {{"sandbox", id}}, "{}", describe(stored.error()));
  look_again_at(self, *failed.failed_at + kFailedKept);
  caf::anon_send(state.concerns.scheduler, undo_atom_v, id);
  // What was given up while it ran leaves its remains only now.
  end_and_release(self, id, [self, id] {
    if (const auto death = self->state.services->boards->deaths.find(id); death && !death->usage)
      note_death(self, with_remains(self, *death, death->ended_at));
  });
}

Error sandbox_missing(const std::string& id) {
  return {.code = ErrorCode::sandbox_not_found,
          .attempted = "find sandbox",
          .subject = id,
          .reason = "there is none with that id",
          .mend = "GET /api/v1/sandboxes lists them"};
}

void start_boot(Self self, BootRequest request, bool resumes, std::function<void(Result<Sandbox>)> done) {
  auto& state = self->state;
  auto& sandbox = request.sandbox;
  if (auto stored = store_sandbox(self, sandbox); !stored) return done(fail(stored.error()));
  const auto stages = BootPipeline::describe();
  auto record = make_run("boot", sandbox.id, sandbox.owner, state.services->node_id, {stages.begin(), stages.end()});
  state.services->boards->runs.publish(record.id, record);
  auto run = self->spawn(boot_run, std::move(record), state.concerns, request, state.recorder, BootEndedSink(self));
  self->monitor(run);
  const auto id = sandbox.id;
  state.booting.emplace(
      id, SandboxRegistryState::Booting{
              .run = run, .request = std::move(request), .done = std::move(done), .removers = {}, .resumes = resumes});
}

void end_draining(Self self) {
  auto& state = self->state;
  if (!state.booting.empty() || !state.removing.empty() || !state.saving.empty() || state.to_pause != 0) return;
  for (auto& promise : std::exchange(state.draining, {})) deliver_done(promise);
}

namespace {

/// Of a sandbox that is on its way out; once more where its VM did not end the first time.
void end_again(Self self, const std::string& id) {
  const auto over = [self, id] {
    auto& state = self->state;
    release_place(state.concerns, id);
    std::optional<SandboxDeath> death;
    if (auto dying = state.dying.extract(id); !dying.empty())
      death = with_remains(self, std::move(dying.mapped()), wall_now());
    forget(self, id, death);
    for (auto& promise : state.removing[id]) deliver_done(promise);
    state.removing.erase(id);
    collect_layers(self);
    end_draining(self);
  };
  self->request(self->state.concerns.node_agent, kEndDeadline, end_atom_v, id)
      .then([over] { over(); },
            [self, over, id](caf::error& failed) {
              const auto error = from_caf(failed, "end sandbox " + id);
              log_error(LogComponent::sandbox, {{"sandbox", id}}, "{}", describe(error));
              if (error.transient)
                self->delayed_send(self, kEndAgain, end_atom_v, id);
              else
                over();
            });
}

}  // namespace

void end_sandbox(Self self, const std::string& id, DeathCause cause, std::string reason) {
  auto& boards = *self->state.services->boards;
  if (const auto sandbox = boards.sandboxes.find(id)) {
    if (sandbox->status != SandboxStatus::creating)
      self->state.dying.try_emplace(id, death_of(self, *sandbox, cause, std::move(reason)));
    Sandbox stopping = *sandbox;
    stopping.status = SandboxStatus::stopping;
    if (auto stored = store_sandbox(self, stopping); !stored)
      log_error(LogComponent::sandbox, {}, "{}", describe(stored.error()));
  }
  end_again(self, id);
}

void keep_remains(Self self, const Sandbox& paused) {
  auto remains = take_remains(self, paused.id);
  if (!remains) return;
  remains->spent = spent_in_all(self, paused.id, remains->spent);
  if (remains->spent) self->state.rested[paused.id] = *remains->spent;
  if (auto kept = write_remains(paused.lineage.paused_state, *remains); !kept)
    log_warn(LogComponent::sandbox, {}, "{}", describe(kept.error()));
}

SandboxRegistryActor::behavior_type sandbox_registry(Self self, SharedServices services, BootConcerns concerns,
                                                     RunRecorderActor recorder, PoolKeeperActor pool,
                                                     VmmStockActor stock, TemplateRegistryActor templates,
                                                     SnapshotMakerActor snapshots, VmRemainsBoard remains) {
  self->state.deaths.emplace(services->control_store, kDeathKind, services->boards->deaths);
  self->state.remains = std::move(remains);
  self->state.snapshots = std::move(snapshots);
  self->state.pool = std::move(pool);
  self->state.stock = std::move(stock);
  self->state.templates = std::move(templates);
  self->state.services = std::move(services);
  self->state.concerns = std::move(concerns);
  self->state.recorder = std::move(recorder);
  self->set_down_handler([self](const caf::down_msg& down) { run_died(self, down); });
  return {
      [self](create_atom, const BootRequest& request) { return create(self, request); },
      [self](cancel_atom, const std::string& id) {
        if (const auto taking = self->state.taking.find(id); taking != self->state.taking.end())
          taking->second.cancelled = true;
        const auto booting = self->state.booting.find(id);
        if (booting == self->state.booting.end()) return;
        booting->second.cancelled = true;
        self->send(booting->second.run, cancel_atom_v);
      },
      [self](remove_atom, const std::string& id) { return remove(self, id); },
      [self](keep_atom, const std::string& id, std::uint32_t timeout_sec) { return keepalive(self, id, timeout_sec); },
      [self](network_atom, const std::string& id, const SandboxNetwork& wanted) {
        return change_network(self, id, wanted);
      },
      [self](pause_atom, const std::string& id) { return pause_sandbox(self, id); },
      [self](resume_atom, const std::string& id) { return resume_sandbox(self, id); },
      [self](fork_atom, const std::string& id, std::uint32_t count) { return fork_sandbox(self, id, count); },
      [self](snapshot_atom, const std::string& id, const std::string& name) {
        return snapshot_sandbox(self, id, name);
      },
      [self](keep_atom, const Sandbox& state) { return reply(keep_state(self, state)); },
      [self](undo_atom, const std::string& saved) { return reply(drop_state(self, saved)); },
      [self](adopt_atom, const std::string& saved, const Sandbox& known) {
        return reply(adopt_state(self, saved, known));
      },
      [self](create_atom, const std::string& saved, std::uint32_t count) { return fork_state(self, saved, count); },
      [self](capture_atom, const std::string& id) { return export_sandbox(self, id); },
      [self](ended_atom, const RunRecord& run, const Sandbox& sandbox) { boot_over(self, run, sandbox); },
      [self](ended_atom, const std::string& id, const std::string& reason) { vm_ended(self, id, reason); },
      [self](tick_atom) { expire(self); },
      [self](end_atom, const std::string& id) { end_again(self, id); },
      [self](adopt_atom) { return adopt(self); },
      [self](drain_atom, const std::string& mode) -> caf::result<void> {
        auto& state = self->state;
        state.drain_mode = mode;
        for (auto& [id, booting] : state.booting) self->send(booting.run, cancel_atom_v);
        if (mode == "destroy")
          for (const auto& sandbox : state.services->boards->sandboxes.all())
            if (!state.booting.contains(sandbox->id) && !state.removing.contains(sandbox->id)) {
              state.removing[sandbox->id];
              end_sandbox(self, sandbox->id, DeathCause::shutdown, kShutdown);
            }
        if (mode == "pause")
          for (const auto& sandbox : state.services->boards->sandboxes.all())
            if (sandbox->status == SandboxStatus::running && !state.removing.contains(sandbox->id))
              pause_to_drain(self, sandbox->id);
        if (state.booting.empty() && state.removing.empty() && state.saving.empty() && state.to_pause == 0)
          return caf::unit;
        state.draining.push_back(self->make_response_promise<void>());
        return state.draining.back();
      },
  };
}

}  // namespace nanobox
