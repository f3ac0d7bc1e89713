#include "actors/snapshot_maker.hpp"

#include <algorithm>
#include <cstdio>
#include <fstream>

#include "actors/boot_run.hpp"
#include "actors/disk_keeper.hpp"
#include "actors/exec_collector.hpp"
#include "actors/template_snapshot.hpp"
#include "config/id.hpp"
#include "config/log.hpp"

namespace nanobox {

namespace {

using Self = SnapshotMakerActor::stateful_pointer<SnapshotMakerState>;
using Making = SnapshotMakerState::Making;

constexpr std::chrono::minutes kSaveDeadline{10};
constexpr std::chrono::seconds kEndDeadline{60};
constexpr std::chrono::hours kPrimeDeadline{1};
constexpr std::chrono::milliseconds kReadyAgain{100};
constexpr std::uint64_t kPrimeOutput = OutputSpool::memory_max;  // kept of each stream
constexpr std::size_t kMostSizes = 4;                            // a template
constexpr std::uint64_t kPrimeTail = 1024;                       // told of it

Error prime_error(const Making& making, std::string reason) {
  return {.code = ErrorCode::template_not_ready,
          .attempted = "prime template",
          .subject = making.entry.name,
          .reason = std::move(reason),
          .mend = "run the command in a sandbox of the image to see why"};
}

/// The VM is of no use any more; once it is gone the asker is answered.
template <class Answer>
void finish(Self self, const std::string& vm_id, Answer answer) {
  auto over = [self, vm_id, answer]() mutable {
    release_place(self->state.concerns, vm_id);
    auto found = self->state.making.extract(vm_id);
    if (!found.empty()) {
      if (found.mapped().warmup_run.empty()) {
        found.mapped().held.reset();
        collect_snapshots(*self->state.services);  // its template may be gone
      } else {
        auto& making = found.mapped();
        if (!making.cancelled) self->state.unpublished.insert_or_assign(making.warmup_run, std::move(making.held));
        answer(making);
      }
    }
    if (!self->state.making.empty()) return;
    for (auto& promise : std::exchange(self->state.draining, {})) deliver_done(promise);
  };
  self->request(self->state.concerns.node_agent, kEndDeadline, end_atom_v, vm_id)
      .then([over]() mutable { over(); },
            [over](caf::error& error) mutable {
              log_error(LogComponent::warmup, {}, "{}", describe(from_caf(error, "end a template's VM")));
              over();
            });
}

/// The template is ready without a snapshot, which says why.
void no_snapshot(Self self, const std::string& vm_id, const Error& error) {
  log_warn(LogComponent::warmup, {}, "no snapshot: {}", describe(error));
  finish(self, vm_id, [error](Making& making) {
    making.entry.snapshot_status = SnapshotStatus::failed;
    making.entry.snapshot_error = error;
    making.entry.snapshot_key.clear();
    making.promise.deliver(making.entry);
  });
}

void prime_failed(Self self, const std::string& vm_id, const Error& error) {
  finish(self, vm_id, [error](Making& making) { making.promise.deliver(to_caf(error)); });
}

void keep_within_limit(Self self) {
  const auto& services = *self->state.services;
  if (services.snapshot_max_mb == 0) return;
  services.snapshots->shrink(services.snapshot_max_mb << 20,
                             [&](const std::filesystem::path& folder) { return snapshot_in_use(services, folder); });
}

void save_template(Self self, const std::string& vm_id) {
  auto& state = self->state;
  const auto found = state.making.find(vm_id);
  if (found == state.making.end()) return;
  const auto& entry = found->second.entry;
  const auto& services = *state.services;
  const auto base = empty_memory(services, entry.resources.memory_mb);
  if (!base) return no_snapshot(self, vm_id, base.error());
  SaveOrder order;
  order.capture.memory_base = *base;
  order.capture.memory_bytes = std::uint64_t{entry.resources.memory_mb} << 20;
  order.capture.whole_memory = true;
  order.capture.goes_on = false;
  order.capture.durable = true;
  order.capture.disk = {sandbox_files(services, vm_id).overlay};
  order.saved = state_to_save(
      services, entry.resources,
      services.snapshots->template_folder(entry.snapshot_key, entry.resources.vcpu, entry.resources.memory_mb));
  order.disk_into_folder = true;
  order.sync = true;
  self->request(state.concerns.node_agent, kSaveDeadline, capture_atom_v, vm_id, order)
      .then(
          [self, vm_id](const Saved& saved) {
            log_info(LogComponent::warmup, {}, "a template's snapshot was saved: {} MiB written, {} ms",
                     saved.captured.written_bytes >> 20, saved.captured.write_us / 1000);
            keep_within_limit(self);
            finish(self, vm_id, [](Making& making) {
              making.entry.snapshot_status = SnapshotStatus::ready;
              making.entry.snapshot_error.reset();
              making.promise.deliver(making.entry);
            });
          },
          [self, vm_id](caf::error& error) { no_snapshot(self, vm_id, from_caf(error, "save the template")); });
}

/// What a command wrote last.
std::string last_output(const ExecOutcome& outcome) {
  std::string told;
  for (const auto& [name, spool] :
       {std::pair("stderr", outcome.stderr_spool), std::pair("stdout", outcome.stdout_spool)}) {
    if (spool->size() == 0 || !spool->is_text()) continue;
    auto text = spool->read(spool->size() - std::min(spool->size(), kPrimeTail), kPrimeTail).value_or("");
    while (!text.empty() && (text.front() & 0xC0) == 0x80) text.erase(0, 1);  // the rest of a character
    told +=
        std::string("; the end of ") + (spool->truncated() ? "the first MiB of " : "") + "its " + name + ":\n" + text;
  }
  return told;
}

ExecCommand command_of(std::vector<std::string> argv, std::chrono::milliseconds deadline) {
  return {.request = {.argv = std::move(argv), .deadline_ms = static_cast<std::uint64_t>(deadline.count())},
          .stdin_bytes = std::string(),
          .max_output_bytes = kPrimeOutput};
}

/// Runs a command in the VM; `then` is told its outcome.
template <class Then>
void run_in(Self self, const std::string& vm_id, ExecCommand command, Then then) {
  auto collector =
      self->spawn(exec_collector, self->state.services->spools,
                  caf::actor_cast<GuestAccessActor>(self->state.concerns.node_agent), vm_id, std::move(command));
  self->request(collector, kPrimeDeadline + kEndDeadline, exec_atom_v)
      .then(
          [then](const ExecOutcome& outcome) { then(Result<ExecOutcome>(outcome)); },
          [then](caf::error& error) { then(Result<ExecOutcome>(fail(from_caf(error, "run the template's prime")))); });
}

/// Asks whether the prime in the background is ready, again and again until its time is over.
void await_ready(Self self, const std::string& vm_id) {
  const auto found = self->state.making.find(vm_id);
  if (found == self->state.making.end()) return;
  const auto& making = found->second;
  const auto& ready = *making.entry.prime->ready;
  if (std::chrono::steady_clock::now() > making.ready_until)
    return prime_failed(self, vm_id,
                        prime_error(making, "it was not ready within " + std::to_string(ready.timeout_ms) + " ms"));
  const auto again = [self, vm_id] { self->delayed_send(self, kReadyAgain, tick_atom_v, vm_id); };
  if (ready.port != 0) {
    self->request(self->state.concerns.node_agent, kEndDeadline, ping_atom_v, vm_id, ready.port)
        .then([self, vm_id] { save_template(self, vm_id); }, [again](caf::error&) { again(); });
    return;
  }
  run_in(self, vm_id, command_of({"/bin/sh", "-c", ready.command}, std::chrono::milliseconds(ready.timeout_ms)),
         [self, vm_id, again](const Result<ExecOutcome>& outcome) {
           if (outcome && outcome->end.exit_code == 0)
             save_template(self, vm_id);
           else
             again();
         });
}

void prime(Self self, const std::string& vm_id) {
  auto& making = self->state.making.at(vm_id);
  const auto& wanted = *making.entry.prime;
  std::vector<std::string> argv{wanted.command};
  argv.insert(argv.end(), wanted.args.begin(), wanted.args.end());
  auto command = command_of(std::move(argv), kPrimeDeadline);
  if (!wanted.background) {
    run_in(self, vm_id, std::move(command), [self, vm_id](const Result<ExecOutcome>& outcome) {
      const auto found = self->state.making.find(vm_id);
      if (found == self->state.making.end()) return;
      if (!outcome) return prime_failed(self, vm_id, outcome.error());
      if (outcome->end.exit_code == 0) return save_template(self, vm_id);
      prime_failed(self, vm_id,
                   prime_error(found->second, "it ended with code " + std::to_string(outcome->end.exit_code) +
                                                  (outcome->end.timed_out ? ", for its time was over" : "") +
                                                  last_output(*outcome)));
    });
    return;
  }
  command.request.process_id = "prime";
  command.request.detached = true;
  command.request.deadline_ms = 0;
  making.ready_until =
      std::chrono::steady_clock::now() + std::chrono::milliseconds(wanted.ready ? wanted.ready->timeout_ms : 0);
  run_in(self, vm_id, std::move(command), [self, vm_id](const Result<ExecOutcome>& outcome) {
    const auto found = self->state.making.find(vm_id);
    if (found == self->state.making.end()) return;
    if (!outcome) return prime_failed(self, vm_id, outcome.error());
    if (found->second.entry.prime->ready)
      await_ready(self, vm_id);
    else
      save_template(self, vm_id);
  });
}

/// Keeps the template's folder until its warmup is over.
std::shared_ptr<const void> hold_folder(const Services& services, const Template& entry) {
  return services.snapshots->hold(
      services.snapshots->template_folder(entry.snapshot_key, entry.resources.vcpu, entry.resources.memory_mb));
}

/// Lets the template have the snapshot that it, or another of the same making, had before.
/// @returns its folder's hold, null if there is none
std::shared_ptr<const void> find_made(const Services& services, Template& entry) {
  const auto key = snapshot_key_of(services, entry);
  std::vector<std::string> made{entry.snapshot_key};
  for (const auto& other : services.boards->templates.all()) made.push_back(other->snapshot_key);
  for (const auto& candidate : made) {
    if (!SnapshotStore::is_of(candidate, key)) continue;
    entry.snapshot_key = candidate;
    auto held = hold_folder(services, entry);
    if (usable_snapshot(services, entry, entry.resources)) return held;
  }
  return nullptr;
}

void start_making(Self self, const std::string& warmup_run, Template entry,
                  caf::typed_response_promise<Template> promise) {
  auto& state = self->state;
  const auto& services = *state.services;
  BootRequest request{.sandbox = {},
                      .way = BootWay::cold,
                      .purpose = BootPurpose::snapshot,
                      .received = std::chrono::steady_clock::now()};
  auto& sandbox = request.sandbox;
  sandbox.id = make_id("tp");
  stand_on(services, entry, sandbox);
  sandbox.resources = entry.resources;
  const auto vm_id = sandbox.id;
  const auto stages = BootPipeline::describe();
  auto record = make_run("boot", vm_id, entry.owner, services.node_id, {stages.begin(), stages.end()});
  auto boot =
      self->spawn(boot_run, std::move(record), state.concerns, std::move(request), state.recorder, BootEndedSink(self));
  auto held = hold_folder(services, entry);
  state.making.emplace(vm_id, Making{.warmup_run = warmup_run,
                                     .held = std::move(held),
                                     .entry = std::move(entry),
                                     .boot = boot,
                                     .promise = promise,
                                     .ready_until = {}});
}

/// Whether the host has so much memory to spare that a guest of that size does not press others.
bool has_memory_for(const Resources& size) {
  std::ifstream meminfo("/proc/meminfo");
  for (std::string line; std::getline(meminfo, line);) {
    std::uint64_t kib = 0;
    if (std::sscanf(line.c_str(), "MemAvailable: %lu", &kib) == 1) return kib >> 10 > std::uint64_t{4} * size.memory_mb;
  }
  return false;
}

/// Makes room among the template's sizes. @returns whether there is
bool make_room(const Services& services, const Template& entry, const Resources& own) {
  auto sizes = services.snapshots->sizes_of(entry.snapshot_key);
  const auto own_folder = services.snapshots->template_folder(entry.snapshot_key, own.vcpu, own.memory_mb);
  for (const auto& folder : sizes) {
    if (services.snapshots->sizes_of(entry.snapshot_key).size() < kMostSizes) break;
    if (folder != own_folder && !snapshot_in_use(services, folder)) services.snapshots->drop(folder);
  }
  return services.snapshots->sizes_of(entry.snapshot_key).size() < kMostSizes;
}

/// One at a time; who comes meanwhile asks again when the size is used again.
void make_size(Self self, const Template& entry) {
  auto& state = self->state;
  const auto& services = *state.services;
  const auto current = services.boards->templates.find(template_key(entry.owner, entry.name));
  if (state.stopping || !state.making.empty() || !services.driver || !current ||
      current->status != TemplateStatus::ready || current->snapshot_status != SnapshotStatus::ready ||
      current->snapshot_key != entry.snapshot_key ||
      !SnapshotStore::is_of(entry.snapshot_key, snapshot_key_of(services, entry)) ||
      is_shared(services, entry.snapshot_key) || usable_snapshot(services, entry, entry.resources) ||
      !has_memory_for(entry.resources) || !make_room(services, entry, current->resources))
    return;
  log_info(LogComponent::warmup, {{"template", entry.name}},
           "a snapshot of {} with {} vCPU and {} MiB is made, for it was asked for", entry.name, entry.resources.vcpu,
           entry.resources.memory_mb);
  start_making(self, "", entry, {});
}

void cancel(Self self, const std::string& vm_id, Making& making) {
  making.cancelled = true;
  self->send(making.boot, cancel_atom_v);
  finish(self, vm_id, [](Making& gone) {
    gone.promise.deliver(to_caf(Error{.code = ErrorCode::cancelled,
                                      .attempted = "make the snapshot of",
                                      .subject = gone.entry.name,
                                      .reason = "it was cancelled",
                                      .mend = ""}));
  });
}

caf::result<Template> make(Self self, const WarmupCall& call, Template entry) {
  const auto& services = *self->state.services;
  if (!entry.snapshot || !services.driver) {
    entry.snapshot_status = SnapshotStatus::none;
    entry.snapshot_key.clear();
    return entry;
  }
  if (auto held = call.request.force ? nullptr : find_made(services, entry)) {
    self->state.unpublished.insert_or_assign(call.run_id, std::move(held));
    entry.snapshot_status = SnapshotStatus::ready;
    return entry;
  }
  entry.snapshot_key = SnapshotStore::new_key(snapshot_key_of(services, entry));
  auto promise = self->make_response_promise<Template>();
  start_making(self, call.run_id, std::move(entry), promise);
  return promise;
}

}  // namespace

SnapshotMakerActor::behavior_type snapshot_maker(Self self, SharedServices services, BootConcerns concerns,
                                                 RunRecorderActor recorder) {
  self->state.services = std::move(services);
  self->state.concerns = std::move(concerns);
  self->state.recorder = std::move(recorder);
  return {
      [self](snapshot_atom, const WarmupCall& call, const Template& entry) { return make(self, call, entry); },
      [self](undo_atom, const std::string& warmup_run) -> caf::result<void> {
        for (auto& [vm_id, making] : self->state.making) {
          if (making.warmup_run != warmup_run) continue;
          cancel(self, vm_id, making);
        }
        return caf::unit;
      },
      [self](ended_atom, const std::string& warmup_run) {
        if (self->state.unpublished.erase(warmup_run) != 0) collect_snapshots(*self->state.services);
      },
      [self](snapshot_atom, const Template& entry) { make_size(self, entry); },
      [self](drain_atom) -> caf::result<void> {
        auto& state = self->state;
        state.stopping = true;
        if (state.making.empty()) return caf::unit;
        for (auto& [vm_id, making] : state.making)
          if (!making.cancelled) cancel(self, vm_id, making);
        state.draining.push_back(self->make_response_promise<void>());
        return state.draining.back();
      },
      [self](ended_atom, const RunRecord& run, const Sandbox& sandbox) {
        const auto found = self->state.making.find(sandbox.id);
        if (found == self->state.making.end() || found->second.cancelled) return;
        if (run.status != RunStatus::succeeded) {
          no_snapshot(self, sandbox.id, run.error.value_or(prime_error(found->second, "its VM did not boot")));
          return;
        }
        if (found->second.entry.prime)
          prime(self, sandbox.id);
        else
          save_template(self, sandbox.id);
      },
      [self](tick_atom, const std::string& vm_id) { await_ready(self, vm_id); },
  };
}

}  // namespace nanobox
