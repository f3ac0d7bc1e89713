#include "actors/disk_keeper.hpp"
#include "actors/job.hpp"
#include "actors/sandbox_saving.hpp"
#include "actors/state_age.hpp"
#include "actors/template_snapshot.hpp"
#include "actors/vmm_stock.hpp"
#include "config/id.hpp"
#include "config/log.hpp"

namespace nanobox {

namespace {

using Self = SandboxRegistrySelf;
namespace fs = std::filesystem;

constexpr std::chrono::seconds kEndDeadline{60};
constexpr std::chrono::seconds kShort{30};
/// A sandbox whose time is over and which cannot be paused runs on for so long.
constexpr std::chrono::seconds kPauseAgain{10};

using SandboxPromise = caf::typed_response_promise<Sandbox>;

/// It goes on as if nothing had been asked.
void pause_failed(Self self, const std::string& id, RunRecord run, const Error& error, SandboxPromise promise) {
  auto& state = self->state;
  if (const auto sandbox = state.services->boards->sandboxes.find(id);
      sandbox && sandbox->status == SandboxStatus::pausing && !state.removing.contains(id)) {
    Sandbox back = *sandbox;
    back.status = SandboxStatus::running;
    back.lineage.paused_state.clear();
    mend_lineage(*state.services, back);
    if (back.expires_at && *back.expires_at <= wall_now() && back.on_timeout == "pause")
      back.expires_at = wall_now() + kPauseAgain;
    if (auto stored = store_sandbox(self, back); !stored)
      log_error(LogComponent::sandbox, {{"sandbox", id}}, "{}", describe(stored.error()));
    if (const auto died = state.died_saving.find(id); died != state.died_saving.end()) vm_ended(self, id, died->second);
  }
  state.died_saving.erase(id);
  end_run(self, run, error);
  promise.deliver(to_caf(error));
  turn_over(self, id);
  collect_layers(self);
}

/// The resume finds a VMM waiting.
void keep_vmm_for(Self self, const Sandbox& paused, const SavedState& saved) {
  const auto base = memory_base(*self->state.services, paused);
  if (!base) return;
  const BootRequest resume{
      .sandbox = paused,
      .from = BootSource{.saved = saved, .memory_base = *base, .memory_layer = paused.lineage.memory_layer},
      .received = {}};
  self->send(self->state.stock, keep_atom_v, stock_shape(resume), 1U);
}

void pause_saved(Self self, const std::string& id, RunRecord run, const Saved& saved, SandboxPromise promise,
                 std::chrono::steady_clock::time_point begun) {
  auto& state = self->state;
  const auto sandbox = state.services->boards->sandboxes.find(id);
  state.half_saved.erase(saved.state.folder);
  if (!sandbox || sandbox->status != SandboxStatus::pausing)
    return pause_failed(self, id, std::move(run), sandbox ? not_running(*sandbox, "pause") : sandbox_missing(id),
                        promise);
  saved_stage(self, run, saved);
  Sandbox paused = *sandbox;
  paused.status = SandboxStatus::paused;
  paused.lineage.memory_layer = saved.state.pages();
  paused.expires_at.reset();
  paused.restore_time_ms.reset();
  const auto since = std::chrono::steady_clock::now() - begun;
  paused.pause_ms = std::chrono::duration_cast<std::chrono::milliseconds>(since).count();
  if (auto stored = store_sandbox(self, paused); !stored) {
    state.services->snapshots->drop(saved.state.folder);  // from here on it is not what the sandbox is
    self->request(state.concerns.node_agent, kShort, thaw_atom_v, id)
        .then([self, id, run, error = stored.error(), promise] { pause_failed(self, id, run, error, promise); },
              [self, id, run, error = stored.error(), promise](caf::error&) {
                pause_failed(self, id, run, error, promise);
              });
    return;
  }
  state.died_saving.erase(id);
  auto over = [self, id, run, paused, promise, from = saved.state]() mutable {
    keep_remains(self, paused);
    keep_vmm_for(self, paused, from);
    release_place(self->state.concerns, id);
    end_run(self, run, std::nullopt);
    promise.deliver(paused);
    turn_over(self, id);
    collect_layers(self);
  };
  // What the sandbox still has on the node is its process, sockets and leases: its disk is a layer now.
  self->request(state.concerns.node_agent, kEndDeadline, end_atom_v, id)
      .then([over]() mutable { over(); },
            [over](caf::error& error) mutable {
              log_error(LogComponent::sandbox, {}, "{}", describe(from_caf(error, "end the VM of a paused sandbox")));
              over();
            });
}

void pause_now(Self self, const std::string& id, SandboxPromise promise) {
  auto& state = self->state;
  const auto begun = std::chrono::steady_clock::now();
  if (const auto paused = state.services->boards->sandboxes.find(id);
      paused && paused->status == SandboxStatus::paused && !state.removing.contains(id)) {
    promise.deliver(*paused);  // by another who asked for the same
    return turn_over(self, id);
  }
  auto sandbox = running(self, id, "pause");
  auto order = sandbox ? order_for(self, *sandbox, new_folder(*state.services, id)) : fail(sandbox.error());
  if (!order) {
    promise.deliver(to_caf(order.error()));
    return turn_over(self, id);
  }
  order->capture.goes_on = false;
  order->capture.durable = true;
  order->disk_layer = new_layer(*state.services);
  // Said before it is done: a daemon that dies in between finds what belongs together.
  sandbox->status = SandboxStatus::pausing;
  sandbox->lineage.disk_layers.push_back(order->disk_layer);
  sandbox->lineage.paused_state = order->saved.folder;
  auto run = begin_run(self, "pause", *sandbox, pause_stages);
  if (auto stored = store_sandbox(self, *sandbox); !stored)
    return pause_failed(self, id, std::move(run), stored.error(), promise);
  self->request(state.concerns.node_agent, kSaveDeadline, capture_atom_v, id, *order)
      .then([self, id, run, promise, begun](const Saved& saved) { pause_saved(self, id, run, saved, promise, begun); },
            [self, id, run, promise, folder = order->saved.folder](caf::error& error) {
              self->state.half_saved.erase(folder);
              pause_failed(self, id, run, from_caf(error, "pause sandbox " + id), promise);
            });
}

struct Awakening {
  Sandbox sandbox;  ///< paused
  BootSource from;
  fs::path layer;  ///< of a chain that was shortened
  std::chrono::steady_clock::time_point received;
};

/// Looks at all that a paused sandbox stands on. Blocking: reads its saved state.
Result<bool> prepare(const Services& services, Awakening& awakening) {
  auto& sandbox = awakening.sandbox;
  if (!services.driver) return fail(services.driver_problem);
  awakening.from = {.saved = NANOBOX_TRY(read_saved_state(sandbox.lineage.paused_state)),
                    .memory_base = NANOBOX_TRY(memory_base(services, sandbox)),
                    .memory_layer = sandbox.lineage.memory_layer};
  const auto& saved = awakening.from.saved;
  NANOBOX_TRY(check_fits_here(services, saved));
  auto files = sandbox.lineage.disk_layers;
  files.push_back(awakening.from.memory_base);
  files.emplace_back(sandbox.rootfs_path);
  std::error_code error;
  for (const auto& file : files)
    if (!fs::exists(file, error))
      return fail({.code = ErrorCode::snapshot_invalid,
                   .attempted = "resume sandbox",
                   .subject = sandbox.id,
                   .reason = file.string() + ", which it stands on, is missing",
                   .mend = "put it back, or delete the sandbox"});
  NANOBOX_TRY(verify_saved_state(saved));
  NANOBOX_TRY(shorten_chain(services, sandbox.lineage.disk_layers, awakening.layer, saved.disk_bytes));
  return true;
}

/// It stays as it was, to be tried again.
void resume_failed(Self self, Sandbox paused, const Error& error, SandboxPromise promise) {
  const auto now = self->state.services->boards->sandboxes.find(paused.id);
  if (now && now->status == SandboxStatus::resuming && !self->state.removing.contains(paused.id))
    if (auto stored = store_sandbox(self, paused); !stored)
      log_error(LogComponent::sandbox, {{"sandbox", paused.id}}, "{}", describe(stored.error()));
  promise.deliver(to_caf(error));
}

void resume_prepared(Self self, const Awakening& awakening, const Sandbox& paused, SandboxPromise promise) {
  auto& state = self->state;
  const auto& id = paused.id;
  const auto now = state.services->boards->sandboxes.find(id);
  if (!now || state.removing.contains(id)) return resume_failed(self, paused, sandbox_missing(id), promise);
  if (!state.drain_mode.empty())
    return resume_failed(self, paused,
                         {.code = ErrorCode::shutting_down,
                          .attempted = "resume sandbox",
                          .subject = id,
                          .reason = "the server is stopping",
                          .mend = "try again later"},
                         promise);
  BootRequest request{.sandbox = awakening.sandbox, .from = awakening.from, .received = awakening.received};
  auto& resuming = request.sandbox;
  resuming.status = SandboxStatus::resuming;
  resuming.generation += 1;
  resuming.state_age_ms = state_age_ms(awakening.from.saved.taken_at);
  start_boot(self, std::move(request), true, [self, promise, paused](Result<Sandbox> booted) mutable {
    if (!booted) return resume_failed(self, paused, booted.error(), promise);
    booted->restore_time_ms = booted->boot_time_ms;
    booted->boot_time_ms = paused.boot_time_ms;
    if (auto stored = store_sandbox(self, *booted); !stored)
      log_error(LogComponent::sandbox, {{"sandbox", booted->id}}, "{}", describe(stored.error()));
    promise.deliver(std::move(*booted));
  });
}

Error not_paused(const Sandbox& sandbox) {
  return {.code = ErrorCode::conflict,
          .attempted = "resume sandbox",
          .subject = sandbox.id,
          .reason = "it is " + std::string(to_string(sandbox.status)),
          .mend = "only a paused one can be resumed"};
}

void resume_now(Self self, const std::string& id, SandboxPromise promise) {
  auto& state = self->state;
  const auto found = state.services->boards->sandboxes.find(id);
  if (!found || found->status != SandboxStatus::paused || state.removing.contains(id)) {
    if (!found)
      promise.deliver(to_caf(sandbox_missing(id)));
    else if (found->status == SandboxStatus::running && !state.removing.contains(id))
      promise.deliver(*found);  // by another who asked for the same
    else
      promise.deliver(to_caf(not_paused(*found)));
    return turn_over(self, id);
  }
  const Sandbox paused = *found;
  Sandbox resuming = paused;
  resuming.status = SandboxStatus::resuming;
  auto over = [self, id = paused.id](const fs::path& layer) {
    self->state.half_saved.erase(layer.parent_path());
    turn_over(self, id);
    collect_layers(self);
  };
  auto awakening = std::make_shared<Awakening>(Awakening{.sandbox = paused,
                                                         .from = {},
                                                         .layer = new_layer(*state.services),
                                                         .received = std::chrono::steady_clock::now()});
  state.half_saved.insert(awakening->layer.parent_path());
  if (auto stored = store_sandbox(self, resuming); !stored) {
    promise.deliver(to_caf(stored.error()));
    return over(awakening->layer);
  }
  request_job(self, kSaveDeadline, [services = state.services, awakening] { return prepare(*services, *awakening); })
      .then(
          [self, awakening, paused, promise, over](bool) {
            resume_prepared(self, *awakening, paused, promise);
            over(awakening->layer);
          },
          [self, awakening, paused, promise, over](caf::error& error) {
            resume_failed(self, paused, from_caf(error, "resume sandbox " + paused.id), promise);
            over(awakening->layer);
          });
}

}  // namespace

caf::result<Sandbox> pause_sandbox(Self self, const std::string& id) {
  if (const auto sandbox = self->state.services->boards->sandboxes.find(id);
      sandbox && sandbox->status == SandboxStatus::paused && !self->state.removing.contains(id))
    return *sandbox;
  auto promise = self->make_response_promise<Sandbox>();
  in_turn(self, id, [self, id, promise] { pause_now(self, id, promise); });
  return promise;
}

void pause_expired(Self self, const std::string& id) {
  in_turn(self, id, [self, id] { pause_now(self, id, {}); });
}

caf::result<Sandbox> resume_sandbox(Self self, const std::string& id) {
  auto& state = self->state;
  const auto& services = *state.services;
  const auto sandbox = services.boards->sandboxes.find(id);
  if (!sandbox) return to_caf(sandbox_missing(id));
  if (sandbox->status == SandboxStatus::running && !state.removing.contains(id)) return *sandbox;
  if (sandbox->status != SandboxStatus::paused || state.removing.contains(id)) return to_caf(not_paused(*sandbox));
  if (!services.driver) return to_caf(services.driver_problem);
  auto promise = self->make_response_promise<Sandbox>();
  in_turn(self, id, [self, id, promise] { resume_now(self, id, promise); });
  return promise;
}

}  // namespace nanobox
