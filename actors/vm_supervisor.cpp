#include "actors/vm_supervisor.hpp"

#include "actors/disk_keeper.hpp"
#include "actors/job.hpp"
#include "actors/network_keeper.hpp"
#include "actors/vm_restore.hpp"
#include "actors/vmm_stock.hpp"
#include "config/log.hpp"
#include "config/random_bytes.hpp"
#include "pipeline/boot/channel/refusal.hpp"
#include "pipeline/boot/vmm/vm_death_cause.hpp"
#include "pipeline/boot/vmm/vm_exit_reason.hpp"
#include "pipeline/boot/vmm/vm_process.hpp"
#include "pipeline/insight/console_lines.hpp"
#include "pipeline/store/node_store.hpp"

namespace nanobox {

namespace {

using Self = VmSupervisorActor::stateful_pointer<VmSupervisorState>;

constexpr std::chrono::seconds kStartDeadline{55};
constexpr std::chrono::milliseconds kHelloRepeat{50};
constexpr std::chrono::seconds kGuestDeadline{110};
/// More than this waits only for a guest that does not read: requests that are given up would pile up.
constexpr std::size_t kUnreadMax = std::size_t{32} << 20;
constexpr std::chrono::milliseconds kClockAgain[] = {std::chrono::milliseconds{50}, std::chrono::milliseconds{300},
                                                     std::chrono::milliseconds{2000}};
constexpr std::chrono::seconds kQuiesceDeadline{5};
constexpr std::chrono::minutes kSyncDeadline{5};
constexpr std::chrono::minutes kSaveDeadline{10};
constexpr std::uint32_t kRestoreTries = 3;
constexpr std::size_t kConsoleTail = 2048;
constexpr std::size_t kConsolePiece = std::size_t{64} << 10;

Error error_of(ErrorCode code, std::string attempted, const std::string& id, std::string reason,
               std::string mend = "") {
  return {.code = code,
          .attempted = std::move(attempted),
          .subject = id,
          .reason = std::move(reason),
          .mend = std::move(mend)};
}

std::uint64_t wall_clock_ns() {
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now().time_since_epoch())
          .count());
}

/// Sends what the session has to say.
void flush(Self self) {
  auto& state = self->state;
  if (!state.session || !state.vm || state.frozen) return;
  auto bytes = state.session->take_output();
  if (!bytes.empty()) state.vm->send_channel(std::move(bytes));
}

/// Everybody who waits for this VM is told why it will not happen.
void fail_all(Self self, const Error& error) {
  auto& state = self->state;
  if (state.handshake) std::exchange(state.handshake, std::nullopt)->second.deliver(to_caf(error));
  if (state.rehearsing) std::exchange(state.rehearsing, std::nullopt)->second.deliver(to_caf(error));
  if (state.configuring) std::exchange(state.configuring, std::nullopt)->second.deliver(to_caf(error));
  if (state.adopting) std::exchange(state.adopting, std::nullopt)->deliver(to_caf(error));
  if (state.saving && !state.saving->working) std::exchange(state.saving, std::nullopt)->promise.deliver(to_caf(error));
  for (auto& pinger : std::exchange(state.pingers, {})) pinger.deliver(to_caf(error));
  for (auto& [stream, open] : std::exchange(state.streams, {})) {
    self->demonitor(open.sink.address());
    self->send(open.sink, failed_atom_v, error);
  }
}

void answer_console(Self self) {
  auto& state = self->state;
  auto waiters = std::exchange(state.console_waiters, {});
  for (auto& [offset, promise] : waiters) {
    auto [bytes, end] = state.vm ? state.vm->console_since(offset, kConsolePiece) : std::pair(std::string(), offset);
    if (!bytes.empty())
      promise.deliver(ConsolePiece{.bytes = std::move(bytes), .end = end});
    else if (state.ended)
      promise.deliver(to_caf(*state.ended));
    else
      state.console_waiters.emplace_back(offset, std::move(promise));
  }
}

/// The VM cannot be used any more, whether it still runs or not.
void give_up(Self self, const Error& error) {
  auto& state = self->state;
  if (state.ended) return;
  state.ended = error;
  const bool was_running = state.configured && !state.ending;
  fail_all(self, error);
  answer_console(self);
  if (state.vm) state.vm->end();
  if (was_running && state.sink) {
    std::string reason = describe(error);
    if (state.vm)
      if (auto tail = state.vm->console_tail(kConsoleTail); !tail.empty())
        reason += "; the console's last lines:\n" + tail;
    self->send(state.sink, ended_atom_v, state.sandbox_id, reason);
  }
}

VmEvents events_for(Self self) {
  // A weak handle: events of a VM do not keep a supervisor alive that nobody wants any more.
  const caf::actor_addr address = self->address();
  const auto tell = [address](auto... message) {
    if (const auto supervisor = caf::actor_cast<caf::actor>(address)) caf::anon_send(supervisor, std::move(message)...);
  };
  VmEvents events;
  events.on_ready = [tell] { tell(ready_atom_v); };
  events.on_channel = [tell](std::span<const std::byte> bytes) {
    tell(bytes_atom_v, std::vector<std::byte>(bytes.begin(), bytes.end()));
  };
  events.on_channel_writable = [] {};
  events.on_console = [tell, wanted = self->state.console_wanted](std::span<const std::byte>) {
    if (wanted->exchange(false)) tell(console_atom_v, true);
  };
  events.on_disk_error = [tell](bool nospace) { tell(disk_error_atom_v, nospace); };
  events.on_exit = [tell](VmExit exit) { tell(exit_atom_v, std::move(exit)); };
  return events;
}

std::array<std::byte, 16> fresh_nonce() {
  std::array<std::byte, 16> nonce{};
  fill_random(nonce);
  return nonce;
}

void begin_session(Self self) {
  flush(self);
  self->delayed_send(self, kHelloRepeat, tick_atom_v);
}

Result<void> send_configure(Self self, const Sandbox& sandbox, std::uint64_t grown_disk, bool rehearsal) {
  const auto& services = *self->state.services;
  ConfigureMessage message{.sandbox_id = sandbox.id,
                           .hostname = sandbox.id,
                           .resolver = services.dns_server,
                           .env = sandbox.image.env,
                           .cwd = sandbox.image.working_dir,
                           .user = sandbox.image.user,
                           .clock_ns = wall_clock_ns(),
                           .entropy = {},
                           .generation = sandbox.generation,
                           .disk_bytes = grown_disk,
                           .rehearsal = rehearsal};
  fill_random(message.entropy);
  for (const auto& [name, value] : sandbox.env) message.env.push_back(name + "=" + value);
  return self->state.session->configure(message);
}

/// A copy's port is open already: it gets CONFIGURE with HELLO, and answers both at once.
void configure_ahead(Self self, const StartedVm& started) {
  auto& state = self->state;
  // What cannot be sent is refused at its stage, where there is somebody to tell.
  state.configured_ahead = send_configure(self, started.sandbox, started.grown_disk, false).has_value();
}

void vm_started(Self self, std::shared_ptr<Vm> vm, caf::typed_response_promise<StartedVm> promise, StartedVm started) {
  auto& state = self->state;
  state.starting = false;
  state.vm = std::move(vm);
  if (state.ending || state.ended) {
    state.vm->end();
    promise.deliver(to_caf(
        state.ended.value_or(error_of(ErrorCode::cancelled, "start the VM of", state.sandbox_id, "it was cancelled"))));
    return;
  }
  state.session = std::make_unique<ChannelSession>(fresh_nonce(), false);
  if (state.restored && state.purpose == BootPurpose::sandbox) configure_ahead(self, started);
  begin_session(self);
  promise.deliver(std::move(started));
}

void vm_not_started(Self self, const caf::error& error, caf::typed_response_promise<StartedVm> promise) {
  auto& state = self->state;
  state.starting = false;
  promise.deliver(error);
  if (!state.ended) state.ended = from_caf(error, "start the VM of " + state.sandbox_id);
  for (auto& ender : std::exchange(state.enders, {})) deliver_done(ender);
}

/// A VMM that waited may have died, or have been stopped, without anybody's notice.
bool is_of_the_vmm(ErrorCode code) {
  return code == ErrorCode::vmm_failed || code == ErrorCode::guest_gone;
}

void restore_in_one(Self self, const DiskedBoot& disked, StartedVm started, std::uint32_t tries,
                    caf::typed_response_promise<StartedVm> promise) {
  self->request(self->state.stock, kStartDeadline, take_atom_v, stock_shape(disked.networked.addressed.placed.request))
      .then(
          [self, promise, disked, started, tries](std::shared_ptr<EmptyVmm>& empty) mutable {
            request_job(self, kStartDeadline,
                        [services = self->state.services, empty = std::move(empty), disked,
                         grown_disk = started.grown_disk, events = events_for(self)]() mutable {
                          return restore_vm(*services, std::move(empty), disked, std::move(events), grown_disk);
                        })
                .then(
                    [self, promise, started](RestoredMachine& restored) mutable {
                      started.detail = std::move(restored.detail);
                      vm_started(self, std::move(restored.vm), promise, started);
                    },
                    [self, promise, disked, started, tries](caf::error& error) {
                      const auto& state = self->state;
                      const auto reason = from_caf(error, "restore " + state.sandbox_id);
                      if (tries <= 1 || state.ending || state.ended || !is_of_the_vmm(reason.code))
                        return vm_not_started(self, error, promise);
                      log_warn(LogComponent::vm, {{"sandbox", state.sandbox_id}}, "another VMM is tried: {}",
                               describe(reason));
                      restore_in_one(self, disked, started, tries - 1, promise);
                    });
          },
          [self, promise](caf::error& error) { vm_not_started(self, error, promise); });
}

caf::result<StartedVm> start_from(Self self, const DiskedBoot& disked) {
  auto& state = self->state;
  const auto& request = disked.networked.addressed.placed.request;
  const auto wanted = std::uint64_t{request.sandbox.resources.disk_mb} << 20;
  StartedVm started{.sandbox = request.sandbox, .grown_disk = wanted > request.from->saved.disk_bytes ? wanted : 0};
  auto promise = self->make_response_promise<StartedVm>();
  state.starting = true;
  state.restored = true;
  restore_in_one(self, disked, std::move(started), kRestoreTries, promise);
  return promise;
}

caf::result<StartedVm> start(Self self, const DiskedBoot& disked) {
  auto& state = self->state;
  const auto& request = disked.networked.addressed.placed.request;
  state.received = request.received;
  state.purpose = request.purpose;
  if (request.from) return start_from(self, disked);
  const auto& services = *state.services;
  VmSpec spec{.sandbox_id = request.sandbox.id,
              .vcpu = request.sandbox.resources.vcpu,
              .memory_mb = request.sandbox.resources.memory_mb,
              .kernel = services.kernel,
              .boot_args = services.boot_args,
              .base_image = request.sandbox.rootfs_path,
              .disk_layers = request.sandbox.lineage.disk_layers,
              .overlay = disked.files.overlay,
              .memory_file = {},
              .run_dir = disked.files.run_dir,
              .uid = 0,
              .idles_long = request.purpose != BootPurpose::sandbox};
  auto promise = self->make_response_promise<StartedVm>();
  state.starting = true;
  request_job(self, kStartDeadline,
              [services = state.services, spec = std::move(spec), events = events_for(self),
               stop = state.stop_starting.get_token()]() mutable -> Result<std::shared_ptr<Vm>> {
                if (!services->driver) return fail(services->driver_problem);
                const auto uid = NANOBOX_TRY(services->node_store->lease("uid", services->vmm_uids.first,
                                                                         services->vmm_uids.last, spec.sandbox_id));
                spec.uid = static_cast<std::uint32_t>(uid);
                spec.memory_file = NANOBOX_TRY(empty_memory(*services, spec.memory_mb));
                std::optional<NodeNetwork::Opened> interface;
                if (services->network) interface = NANOBOX_TRY(services->network->open(spec.sandbox_id));
                spec.interface = to_interface(interface);
                std::shared_ptr<Vm> vm = NANOBOX_TRY(services->driver->start(spec, std::move(events), stop));
                if (auto kept = services->node_store->put_vm(spec.sandbox_id, to_json(vm->identity())); !kept) {
                  vm->end();
                  return fail(kept.error());
                }
                return vm;
              })
      .then([self, promise, started = StartedVm{.sandbox = request.sandbox}](
                std::shared_ptr<Vm>& vm) { vm_started(self, std::move(vm), promise, started); },
            [self, promise](caf::error& error) { vm_not_started(self, error, promise); });
  return promise;
}

std::int64_t milliseconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - begin).count();
}

/// The guest is ready once its mark was on the console (a restored one wrote it in its former life) and its channel
/// answers.
void ready_if_complete(Self self) {
  auto& state = self->state;
  if (!state.handshake || !(state.ready_mark || state.restored) || !state.session || !state.session->up()) return;
  auto [started, promise] = *std::exchange(state.handshake, std::nullopt);
  promise.deliver(
      ReadyGuest{.sandbox = started.sandbox, .boot_time_ms = state.boot_time_ms, .grown_disk = started.grown_disk});
}

/// The guest is its sandbox from here on.
void configured(Self self) {
  auto& state = self->state;
  auto [sandbox, promise] = *std::exchange(state.configuring, std::nullopt);
  sandbox.boot_time_ms = state.boot_time_ms;
  promise.deliver(std::move(sandbox));
}

caf::result<Sandbox> configure(Self self, const ReadyGuest& ready) {
  auto& state = self->state;
  if (state.ended) return to_caf(*state.ended);
  if (!state.configured_ahead)
    if (auto sent = send_configure(self, ready.sandbox, ready.grown_disk, false); !sent) return to_caf(sent.error());
  flush(self);
  auto promise = self->make_response_promise<Sandbox>();
  state.configuring.emplace(ready.sandbox, promise);
  if (state.configured) configured(self);
  return promise;
}

caf::result<ReadyGuest> rehearse(Self self, const ReadyGuest& ready) {
  auto& state = self->state;
  if (state.ended) return to_caf(*state.ended);
  if (auto sent = send_configure(self, ready.sandbox, 0, true); !sent) return to_caf(sent.error());
  flush(self);
  auto promise = self->make_response_promise<ReadyGuest>();
  state.rehearsing.emplace(ready, promise);
  return promise;
}

/// What the API calls that which a stream does.
std::string_view attempted_by(const StreamRequest& request) {
  static constexpr std::string_view names[] = {"run a command",     "follow a process", "write to a process' stdin",
                                               "list processes",    "signal a process", "forget a process",
                                               "read a file",       "write a file",     "look at a file",
                                               "list a folder",     "remove a file",    "rename a file",
                                               "make a folder",     "read a folder",    "write a folder",
                                               "connect to a port", "read init's log"};
  static_assert(std::size(names) == std::variant_size_v<StreamRequest>);
  return names[request.index()];
}

/// The stream is over: its sink is told last, and not watched any more.
template <class Atom, class Told>
void end_stream(Self self, std::uint32_t stream, Atom atom, Told told) {
  auto& streams = self->state.streams;
  const auto found = streams.find(stream);
  if (found == streams.end()) return;
  self->send(found->second.sink, atom, std::move(told));
  self->demonitor(found->second.sink.address());
  streams.erase(found);
}

template <class Atom, class Told>
void tell(Self self, Atom atom, Told& told) {
  const auto found = self->state.streams.find(told.stream);
  if (found != self->state.streams.end()) self->send(found->second.sink, atom, std::move(told));
}

void tell_sink(Self self, Opened& opened) {
  if (opened.last)
    end_stream(self, opened.stream, opened_atom_v, opened);
  else
    tell(self, opened_atom_v, opened);
}
void tell_sink(Self self, StreamData& data) {
  tell(self, bytes_atom_v, data);
}
void tell_sink(Self self, OutputGap& gap) {
  tell(self, gap_atom_v, gap);
}
void tell_sink(Self self, StdinWindow& window) {
  tell(self, window_atom_v, window);
}
void tell_sink(Self self, StreamExit& exit) {
  end_stream(self, exit.stream, exit_atom_v, exit);
}
void tell_sink(Self self, StreamError& error) {
  const auto found = self->state.streams.find(error.stream);
  if (found == self->state.streams.end()) return;
  end_stream(self, error.stream, failed_atom_v,
             refusal_of(error, std::string(found->second.attempted) + " in", self->state.sandbox_id));
}
template <class Other>
void tell_sink(Self, Other&) {}

std::int64_t microseconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - begin).count();
}

/// The guest's processes go on, and so does what the session has to say.
void thaw(Self self) {
  auto& state = self->state;
  if (!state.frozen) return;
  state.frozen = false;
  if (state.session && !state.ended) {
    state.session->ping(wall_clock_ns());  // its clock stood still with its vCPUs
    state.session->thaw();
  }
  flush(self);
}

/// Who waits for the end goes on once the VM is gone and no saving is at work, whose asker would never be answered.
void end_if_over(Self self) {
  auto& state = self->state;
  if (state.vm || state.starting || state.saving) return;
  for (auto& ender : std::exchange(state.enders, {})) deliver_done(ender);
}

void saving_failed(Self self, const Error& error) {
  auto& state = self->state;
  if (!state.saving) return;
  auto saving = *std::exchange(state.saving, std::nullopt);
  thaw(self);
  saving.promise.deliver(to_caf(error));
  end_if_over(self);
}

/// Its processes stand still: the rest is the VMM's.
void save_frozen(Self self) {
  auto& state = self->state;
  if (!state.saving || state.saving->working || !state.vm) return;
  state.saving->working = true;
  request_job(self, kSaveDeadline,
              [vm = state.vm, store = state.services->snapshots, order = state.saving->order] {
                return save(*vm, *store, order);
              })
      .then(
          [self](Saved& saved) {
            auto saving = *std::exchange(self->state.saving, std::nullopt);
            if (saving.order.capture.goes_on) thaw(self);
            saved.frozen_us = microseconds_since(saving.frozen_since) - saved.captured.write_us;
            saving.promise.deliver(std::move(saved));
            end_if_over(self);
          },
          [self](caf::error& error) { saving_failed(self, from_caf(error, "save " + self->state.sandbox_id)); });
}

caf::result<Saved> begin_saving(Self self, const SaveOrder& order) {
  auto& state = self->state;
  if (state.ended) return to_caf(*state.ended);
  if (!state.configured || !state.vm)
    return to_caf(error_of(ErrorCode::sandbox_not_running, "save", state.sandbox_id, "it does not run"));
  if (state.saving || state.frozen)
    return to_caf(error_of(ErrorCode::conflict, "save", state.sandbox_id, "it is being saved already", "try again"));
  auto promise = self->make_response_promise<Saved>();
  state.saving.emplace(
      VmSupervisorState::Saving{.order = order, .promise = promise, .frozen_since = std::chrono::steady_clock::now()});
  state.session->quiesce(order.sync);
  flush(self);
  state.frozen = true;
  self->delayed_send(self, order.sync ? kSyncDeadline : kQuiesceDeadline, thaw_atom_v, ++state.savings);
  return promise;
}

void take_event(Self self, ChannelEvent& event) {
  auto& state = self->state;
  if (std::holds_alternative<SessionUp>(event)) {
    ready_if_complete(self);
    if (state.adopting) {
      // The daemon that froze it, or stopped its vCPUs, may have died before it let it go on.
      state.session->ping(wall_clock_ns());
      state.session->thaw();
      state.configured = true;
      deliver_done(*std::exchange(state.adopting, std::nullopt));
    }
  } else if (std::holds_alternative<Configured>(event)) {
    if (state.rehearsing) {
      auto [ready, promise] = *std::exchange(state.rehearsing, std::nullopt);
      promise.deliver(std::move(ready));
      return;
    }
    if (state.configured || !(state.configuring || state.configured_ahead)) return;
    state.configured = true;
    state.session->ping(wall_clock_ns());  // CONFIGURE's clock was as late as CONFIGURE
    // On a loaded host each of them comes late; the one that was fastest counts.
    for (const auto later : kClockAgain) self->delayed_send(self, later, tick_atom_v, true);
    if (state.restored || state.pooled) state.boot_time_ms = milliseconds_since(state.received);
    if (state.configuring) configured(self);
  } else if (std::holds_alternative<Quiesced>(event)) {
    save_frozen(self);
  } else if (std::holds_alternative<Pong>(event)) {
    for (auto& pinger : std::exchange(state.pingers, {})) deliver_done(pinger);
  } else if (const auto* error = std::get_if<StreamError>(&event); error != nullptr && error->stream == 0) {
    if (state.saving && !state.saving->working)
      saving_failed(self, refusal_of(*error, state.sandbox_id));
    else if (state.rehearsing || (!state.configured && (state.configuring || state.configured_ahead)))
      give_up(self, refusal_of(*error, state.sandbox_id));
  } else {
    std::visit([self](auto& told) { tell_sink(self, told); }, event);
  }
}

/// Opens what was asked for. @errors those of the session's open_…
Result<std::uint32_t> open_in(ChannelSession& session, const StreamRequest& request) {
  struct Open {
    ChannelSession& session;
    Result<std::uint32_t> operator()(const ExecRequest& asked) { return session.open_exec(asked); }
    Result<std::uint32_t> operator()(const AttachRequest& asked) { return session.open_attach(asked); }
    Result<std::uint32_t> operator()(const InputRequest& asked) { return session.open_input(asked); }
    Result<std::uint32_t> operator()(const ProcessesRequest&) { return session.open_processes(); }
    Result<std::uint32_t> operator()(const SignalRequest& asked) {
      return session.open_signal(asked.process_id, asked.number);
    }
    Result<std::uint32_t> operator()(const ForgetRequest& asked) { return session.open_forget(asked.process_id); }
    Result<std::uint32_t> operator()(const FileReadRequest& asked) { return session.open_file_read(asked); }
    Result<std::uint32_t> operator()(const FileWriteRequest& asked) { return session.open_file_write(asked); }
    Result<std::uint32_t> operator()(const FileStatRequest& asked) { return session.open_file_stat(asked); }
    Result<std::uint32_t> operator()(const FileListRequest& asked) { return session.open_file_list(asked); }
    Result<std::uint32_t> operator()(const FileRemoveRequest& asked) { return session.open_file_remove(asked); }
    Result<std::uint32_t> operator()(const FileRenameRequest& asked) { return session.open_file_rename(asked); }
    Result<std::uint32_t> operator()(const FolderMakeRequest& asked) { return session.open_folder_make(asked); }
    Result<std::uint32_t> operator()(const ArchiveReadRequest& asked) { return session.open_archive_read(asked); }
    Result<std::uint32_t> operator()(const ArchiveWriteRequest& asked) { return session.open_archive_write(asked); }
    Result<std::uint32_t> operator()(const TcpRequest& asked) { return session.open_tcp(asked.port); }
    Result<std::uint32_t> operator()(const LogRequest& asked) { return session.open_log(asked); }
  };
  return std::visit(Open{session}, request);
}

caf::result<GuestStream> open_stream(Self self, const StreamRequest& request, const StreamSink& sink) {
  auto& state = self->state;
  if (state.ended) return to_caf(*state.ended);
  if (!state.configured)
    return to_caf(error_of(ErrorCode::sandbox_not_running, "use", state.sandbox_id, "it is not configured yet"));
  if (state.vm && state.vm->channel_queued() > kUnreadMax)
    return to_caf(error_of(ErrorCode::guest_timeout, std::string(attempted_by(request)) + " in", state.sandbox_id,
                           "its guest does not read its channel", "delete the sandbox"));
  const auto stream = open_in(*state.session, request);
  if (!stream) return to_caf(stream.error());
  state.streams.emplace(*stream, OpenStream{.sink = sink, .attempted = attempted_by(request)});
  self->monitor(sink);
  flush(self);
  return GuestStream{.source = StreamSource(VmSupervisorActor(self)), .number = *stream};
}

void close_stream(Self self, std::uint32_t stream) {
  auto& state = self->state;
  const auto found = state.streams.find(stream);
  if (found == state.streams.end()) return;
  self->demonitor(found->second.sink.address());
  state.streams.erase(found);
  state.session->close(stream);
  flush(self);
}

/// The node agent's death ends this actor: its successor takes the VM over, by its record. A sink's closes its streams.
void other_died(Self self, const caf::actor_addr& who) {
  auto& state = self->state;
  if (who == state.sink.address()) return self->quit(caf::exit_reason::user_shutdown);
  for (auto it = state.streams.begin(); it != state.streams.end();) {
    if (it->second.sink.address() != who) {
      ++it;
      continue;
    }
    if (!state.ended) state.session->close(it->first);
    it = state.streams.erase(it);
  }
  flush(self);
}

/// What is left of a VM, before anybody is told of its end. Of a guest that never was its sandbox nothing is.
/// @param status  as its tiny parent noted it
void leave_remains(Self self, const VmExit& exit, const std::optional<VmExitStatus>& status) {
  auto& state = self->state;
  VmRemains remains{
      .reason = exit.reason,
      .console = state.vm ? last_console_lines(state.vm->console_tail(kDeathConsoleMax)) : "",
      .disk_bytes = disk_bytes_of(sandbox_files(*state.services, state.sandbox_id).overlay),
  };
  if (status) remains.spent = status->spent;
  if (!state.ended && !state.ending && state.disk_problem.empty())
    remains.cause = cause_of(exit, status ? status->oom_kills : 0, remains.console);
  state.remains->publish(state.sandbox_id, std::move(remains));
}

/// It ended while nobody was there to see it: what its tiny parent noted is all that is known.
std::string ended_unseen(Self self, const VmIdentity& identity, const Error& error) {
  if (error.code != ErrorCode::guest_gone) return error.reason;
  const auto status = recorded_exit(identity.run_dir);
  auto exit = to_vm_exit({.status = status.value_or(VmExitStatus{}), .output = recorded_output(identity.run_dir)});
  exit.reason = "while no daemon watched, " + exit.reason;
  leave_remains(self, exit, status);
  return error.reason + "; " + exit.reason;
}

caf::result<void> adopt(Self self, const VmIdentity& identity) {
  auto promise = self->make_response_promise<void>();
  request_job(
      self, kStartDeadline,
      [services = self->state.services, identity, events = events_for(self)]() mutable -> Result<std::shared_ptr<Vm>> {
        if (!services->driver) return fail(services->driver_problem);
        auto vm = services->driver->adopt(identity, std::move(events));
        if (!vm) {
          NANOBOX_TRY(services->driver->clean_up(identity));
          return fail(vm.error());
        }
        return std::shared_ptr<Vm>(std::move(*vm));
      })
      .then(
          [self, promise](std::shared_ptr<Vm>& vm) mutable {
            self->state.vm = std::move(vm);
            self->state.adopting = promise;
            self->state.received = std::chrono::steady_clock::now();
            self->state.session = std::make_unique<ChannelSession>(fresh_nonce(), true);
            begin_session(self);
          },
          [self, promise, identity](caf::error& error) mutable {
            auto why = from_caf(error, "adopt the VM of " + self->state.sandbox_id);
            why.reason = ended_unseen(self, identity, why);
            self->state.ended = why;
            promise.deliver(to_caf(why));
          });
  return promise;
}

void vm_exited(Self self, const VmExit& exit) {
  auto& state = self->state;
  if ((state.configured || state.adopting) && state.purpose != BootPurpose::snapshot && state.vm)
    leave_remains(self, exit, recorded_exit(state.vm->identity().run_dir));
  if (!state.ended) {
    const auto code = exit.guest_panicked ? ErrorCode::guest_panicked : ErrorCode::vmm_failed;
    auto error = error_of(state.disk_problem.empty() ? code : ErrorCode::host_disk_full, "run the VM of",
                          state.sandbox_id, state.disk_problem.empty() ? exit.reason : state.disk_problem);
    if (!state.configured && state.vm)
      if (auto tail = state.vm->console_tail(kConsoleTail); !tail.empty())
        error.reason += "; the console's last lines:\n" + tail;
    give_up(self, error);
  }
  state.vm.reset();
  end_if_over(self);
}

caf::result<void> end(Self self) {
  auto& state = self->state;
  state.ending = true;
  if (!state.ended)
    give_up(self, state.frozen && !state.saving
                      ? error_of(ErrorCode::sandbox_paused, "use sandbox", state.sandbox_id, "it was paused",
                                 "POST …/resume lets it go on")
                      : error_of(ErrorCode::sandbox_not_running, "use sandbox", state.sandbox_id, "it was ended"));
  if (!state.vm && !state.starting && !state.saving) return caf::unit;
  state.stop_starting.request_stop();
  state.enders.push_back(self->make_response_promise<void>());
  auto promise = state.enders.back();
  return promise;
}

}  // namespace

VmSupervisorActor::behavior_type vm_supervisor(Self self, SharedServices services, VmEndedSink sink,
                                               VmmStockActor stock, VmRemainsBoard remains, std::string sandbox_id) {
  self->state.remains = std::move(remains);
  self->state.stock = std::move(stock);
  self->state.services = std::move(services);
  self->state.sink = std::move(sink);
  self->state.sandbox_id = std::move(sandbox_id);
  self->monitor(self->state.sink);
  self->set_down_handler([self](const caf::down_msg& down) { other_died(self, down.source); });
  return {
      [self](vm_atom, const BootCall&, const DiskedBoot& disked) { return start(self, disked); },
      [self](shake_atom, const BootCall&, const StartedVm& started) -> caf::result<ReadyGuest> {
        auto& state = self->state;
        if (state.ended) return to_caf(*state.ended);
        auto promise = self->make_response_promise<ReadyGuest>();
        state.handshake.emplace(started, promise);
        ready_if_complete(self);
        return promise;
      },
      [self](rehearse_atom, const BootCall&, const ReadyGuest& ready) { return rehearse(self, ready); },
      [self](config_atom, const BootCall&, const ReadyGuest& ready) { return configure(self, ready); },
      [self](adopt_atom, const Sandbox&, const VmIdentity& identity) { return adopt(self, identity); },
      [self](open_atom, const StreamRequest& request, const StreamSink& sink) {
        return open_stream(self, request, sink);
      },
      [self](grant_atom, std::uint32_t stream, std::uint32_t bytes) {
        if (!self->state.streams.contains(stream)) return;
        self->state.session->grant(stream, bytes);
        flush(self);
      },
      [self](write_atom, std::uint32_t stream, const std::string& bytes, bool last) {
        const auto found = self->state.streams.find(stream);
        if (found == self->state.streams.end()) return;
        const auto queued = self->state.session->write_stdin(stream, bytes, last);
        flush(self);
        if (queued) return;
        self->state.session->close(stream);
        end_stream(self, stream, failed_atom_v, queued.error());
      },
      [self](signal_atom, std::uint32_t stream, std::uint32_t number) {
        if (!self->state.streams.contains(stream)) return;
        self->state.session->signal(stream, number);
        flush(self);
      },
      [self](resize_atom, std::uint32_t stream, const TerminalSize& size) {
        if (!self->state.streams.contains(stream)) return;
        self->state.session->resize(stream, size.columns, size.rows);
        flush(self);
      },
      [self](close_atom, std::uint32_t stream) { close_stream(self, stream); },
      [self](capture_atom, const SaveOrder& order) { return begin_saving(self, order); },
      [self](thaw_atom) -> caf::result<void> {
        auto& state = self->state;
        if (!state.vm || state.ended) return caf::unit;
        auto promise = self->make_response_promise<void>();  // not before: what is returned would answer nobody
        request_job(self, kStartDeadline,
                    [vm = state.vm]() -> Result<bool> {
                      NANOBOX_TRY(vm->cont());
                      return true;
                    })
            .then(
                [self, promise](bool) mutable {
                  thaw(self);
                  deliver_done(promise);
                },
                [promise](caf::error& error) mutable { promise.deliver(error); });
        return promise;
      },
      [self](thaw_atom, std::uint32_t saving) {
        auto& state = self->state;
        if (saving != state.savings || !state.saving || state.saving->working) return;
        saving_failed(self, error_of(ErrorCode::guest_timeout, "freeze the guest of", state.sandbox_id,
                                     "it did not answer in time"));
      },
      [self](take_atom, const BootRequest& request) -> caf::result<Sandbox> {
        auto& state = self->state;
        if (state.ended) return to_caf(*state.ended);
        if (!state.vm || !state.session || !state.session->up() || state.configured)
          return to_caf(error_of(ErrorCode::sandbox_not_running, "take", state.sandbox_id, "it is not ready"));
        if (auto sent = send_configure(self, request.sandbox, 0, false); !sent) return to_caf(sent.error());
        flush(self);
        state.configured_ahead = true;
        // Meanwhile the guest is at it.
        if (auto renamed = rename_vm(*state.services, *state.vm, request.sandbox.id); !renamed)
          return to_caf(renamed.error());
        if (auto attached = attach_network(*state.services, request.sandbox); !attached)
          return to_caf(attached.error());
        state.sandbox_id = request.sandbox.id;
        state.received = request.received;
        state.pooled = true;
        return configure(self, {.sandbox = request.sandbox});
      },
      [self](ping_atom) -> caf::result<void> {
        auto& state = self->state;
        if (state.ended) return to_caf(*state.ended);
        if (!state.session || !state.session->up())
          return to_caf(error_of(ErrorCode::sandbox_not_running, "ask", state.sandbox_id, "it is not ready"));
        state.pingers.push_back(self->make_response_promise<void>());
        state.session->ping(wall_clock_ns());
        flush(self);
        return state.pingers.back();
      },
      [self](end_atom) { return end(self); },
      [self](console_atom) -> std::string {
        return self->state.vm ? self->state.vm->console_tail(1U << 20) : std::string();
      },
      [self](console_atom, std::uint64_t offset) -> caf::result<ConsolePiece> {
        auto promise = self->make_response_promise<ConsolePiece>();
        self->state.console_waiters.emplace_back(offset, promise);
        *self->state.console_wanted = true;  // before looking: what comes later is told
        answer_console(self);
        return promise;
      },
      [self](console_atom, bool) {
        if (!self->state.console_waiters.empty()) *self->state.console_wanted = true;
        answer_console(self);
      },
      [self](ready_atom) {
        auto& state = self->state;
        if (std::exchange(state.ready_mark, true)) return;
        state.boot_time_ms = milliseconds_since(state.received);
        if (state.session && !state.session->up()) {
          state.session->repeat_hello();
          flush(self);
        }
        ready_if_complete(self);
      },
      [self](bytes_atom, const std::vector<std::byte>& bytes) {
        auto& state = self->state;
        if (!state.session || state.ended) return;
        auto events = state.session->feed(bytes);
        if (state.vm) state.vm->grant_channel(bytes.size());
        if (!events) {
          give_up(self, events.error());
          return;
        }
        for (auto& event : *events) take_event(self, event);
        flush(self);
      },
      [self](exit_atom, const VmExit& exit) { vm_exited(self, exit); },
      [self](disk_error_atom, bool nospace) {
        self->state.disk_problem = nospace ? "the host's disk is full" : "the host failed to read or write the disk";
        give_up(self,
                error_of(nospace ? ErrorCode::host_disk_full : ErrorCode::io_failed, "run the VM of",
                         self->state.sandbox_id, self->state.disk_problem, nospace ? "free space on the host" : ""));
      },
      [self](tick_atom, bool) {
        auto& state = self->state;
        if (state.ended || state.frozen || !state.session || !state.session->up()) return;
        state.session->ping(wall_clock_ns());
        flush(self);
      },
      [self](tick_atom) {
        auto& state = self->state;
        if (!state.session || state.session->up() || state.ended || !state.vm) return;
        if (std::chrono::steady_clock::now() > state.received + kGuestDeadline) {
          give_up(self, error_of(ErrorCode::guest_timeout, "reach the guest of", state.sandbox_id,
                                 "it did not answer on its channel; the console's last lines:\n" +
                                     state.vm->console_tail(kConsoleTail)));
          return;
        }
        // What was written before the guest opened its port may be lost: ask again.
        state.session->repeat_hello();
        flush(self);
        self->delayed_send(self, kHelloRepeat * 4, tick_atom_v);
      },
  };
}

}  // namespace nanobox
