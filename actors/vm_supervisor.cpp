#include "actors/vm_supervisor.hpp"

#include <sys/random.h>

#include "actors/job.hpp"
#include "pipeline/boot/channel/refusal.hpp"
#include "pipeline/store/node_store.hpp"

namespace nanobox {

namespace {

using Self = VmSupervisorActor::stateful_pointer<VmSupervisorState>;

constexpr std::chrono::seconds kStartDeadline{55};
constexpr std::chrono::milliseconds kHelloRepeat{50};
constexpr std::chrono::seconds kGuestDeadline{110};
/// More than this waits only for a guest that does not read: requests that are given up would pile up.
constexpr std::size_t kUnreadMax = std::size_t{32} << 20;
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

/// Sends what the session has to say.
void flush(Self self) {
  auto& state = self->state;
  if (!state.session || !state.vm) return;
  auto bytes = state.session->take_output();
  if (!bytes.empty()) state.vm->send_channel(std::move(bytes));
}

/// Everybody who waits for this VM is told why it will not happen.
void fail_all(Self self, const Error& error) {
  auto& state = self->state;
  if (state.handshake) std::exchange(state.handshake, std::nullopt)->second.deliver(to_caf(error));
  if (state.configuring) std::exchange(state.configuring, std::nullopt)->second.deliver(to_caf(error));
  if (state.adopting) std::exchange(state.adopting, std::nullopt)->deliver(to_caf(error));
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
  while (::getrandom(nonce.data(), nonce.size(), 0) != static_cast<ssize_t>(nonce.size())) {
  }
  return nonce;
}

void open_session(Self self, bool resync) {
  self->state.session = std::make_unique<ChannelSession>(fresh_nonce(), resync);
  flush(self);
  self->delayed_send(self, kHelloRepeat, tick_atom_v);
}

caf::result<StartedVm> start(Self self, const DiskedBoot& disked) {
  auto& state = self->state;
  const auto& request = disked.networked.addressed.placed.request;
  state.received = request.received;
  const auto& services = *state.services;
  VmSpec spec{.sandbox_id = request.sandbox.id,
              .vcpu = request.sandbox.resources.vcpu,
              .memory_mb = request.sandbox.resources.memory_mb,
              .kernel = services.kernel,
              .boot_args = services.boot_args,
              .base_image = request.sandbox.rootfs_path,
              .overlay = disked.files.overlay,
              .memory_file = disked.files.memory_file,
              .run_dir = disked.files.run_dir,
              .uid = 0};
  auto promise = self->make_response_promise<StartedVm>();
  state.starting = true;
  request_job(self, kStartDeadline,
              [services = state.services, spec = std::move(spec), events = events_for(self),
               stop = state.stop_starting.get_token()]() mutable -> Result<std::shared_ptr<Vm>> {
                if (!services->driver) return fail(services->driver_problem);
                const auto uid = NANOBOX_TRY(services->node_store->lease("uid", services->vmm_uids.first,
                                                                         services->vmm_uids.last, spec.sandbox_id));
                spec.uid = static_cast<std::uint32_t>(uid);
                std::shared_ptr<Vm> vm = NANOBOX_TRY(services->driver->start(spec, std::move(events), stop));
                if (auto kept = services->node_store->put_vm(spec.sandbox_id, to_json(vm->identity())); !kept) {
                  vm->end();
                  return fail(kept.error());
                }
                return vm;
              })
      .then(
          [self, promise, sandbox = request.sandbox, image = request.image](std::shared_ptr<Vm>& vm) mutable {
            auto& state = self->state;
            state.starting = false;
            state.vm = std::move(vm);
            if (state.ending || state.ended) {
              state.vm->end();
              promise.deliver(to_caf(state.ended.value_or(
                  error_of(ErrorCode::cancelled, "start the VM of", state.sandbox_id, "it was cancelled"))));
              return;
            }
            open_session(self, false);
            promise.deliver(StartedVm{.sandbox = sandbox, .image = image});
          },
          [self, promise](caf::error& error) mutable {
            auto& state = self->state;
            state.starting = false;
            promise.deliver(error);
            if (!state.ended) state.ended = from_caf(error, "start the VM of " + state.sandbox_id);
            for (auto& ender : std::exchange(state.enders, {})) deliver_done(ender);
          });
  return promise;
}

/// The guest is ready once its mark was on the console and its channel answers.
void ready_if_complete(Self self) {
  auto& state = self->state;
  if (!state.handshake || !state.ready_mark || !state.session || !state.session->up()) return;
  auto [started, promise] = *std::exchange(state.handshake, std::nullopt);
  promise.deliver(ReadyGuest{.sandbox = started.sandbox, .image = started.image, .boot_time_ms = state.boot_time_ms});
}

caf::result<Sandbox> configure(Self self, const ReadyGuest& ready) {
  auto& state = self->state;
  if (state.ended) return to_caf(*state.ended);
  ConfigureMessage message{
      .sandbox_id = ready.sandbox.id,
      .hostname = ready.sandbox.id,
      .resolver = state.services->dns_server,
      .env = ready.image.env,
      .cwd = ready.image.working_dir,
      .user = ready.image.user,
      .clock_ns = static_cast<std::uint64_t>(
          std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now().time_since_epoch())
              .count()),
      .entropy = {},
      .generation = ready.sandbox.generation};
  while (::getrandom(message.entropy.data(), message.entropy.size(), 0) !=
         static_cast<ssize_t>(message.entropy.size())) {
  }
  for (const auto& [name, value] : ready.sandbox.env) message.env.push_back(name + "=" + value);
  if (auto sent = state.session->configure(message); !sent) return to_caf(sent.error());
  flush(self);
  Sandbox sandbox = ready.sandbox;
  sandbox.boot_time_ms = ready.boot_time_ms;
  state.configuring.emplace(std::move(sandbox), self->make_response_promise<Sandbox>());
  return state.configuring->second;
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

void take_event(Self self, ChannelEvent& event) {
  auto& state = self->state;
  if (std::holds_alternative<SessionUp>(event)) {
    ready_if_complete(self);
    if (state.adopting) {
      state.configured = true;
      deliver_done(*std::exchange(state.adopting, std::nullopt));
    }
  } else if (std::holds_alternative<Configured>(event)) {
    if (!state.configuring) return;
    state.configured = true;
    auto [sandbox, promise] = *std::exchange(state.configuring, std::nullopt);
    promise.deliver(std::move(sandbox));
  } else if (const auto* error = std::get_if<StreamError>(&event); error != nullptr && error->stream == 0) {
    if (state.configuring)
      std::exchange(state.configuring, std::nullopt)->second.deliver(to_caf(refusal_of(*error, state.sandbox_id)));
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
            open_session(self, true);
          },
          [self, promise](caf::error& error) mutable {
            self->state.ended = from_caf(error, "adopt the VM of " + self->state.sandbox_id);
            promise.deliver(error);
          });
  return promise;
}

void vm_exited(Self self, const VmExit& exit) {
  auto& state = self->state;
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
  for (auto& ender : std::exchange(state.enders, {})) deliver_done(ender);
}

caf::result<void> end(Self self) {
  auto& state = self->state;
  state.ending = true;
  if (!state.ended)
    give_up(self, error_of(ErrorCode::sandbox_not_running, "use sandbox", state.sandbox_id, "it was ended"));
  if (!state.vm && !state.starting) return caf::unit;
  state.stop_starting.request_stop();
  state.enders.push_back(self->make_response_promise<void>());
  auto promise = state.enders.back();
  return promise;
}

}  // namespace

VmSupervisorActor::behavior_type vm_supervisor(Self self, SharedServices services, VmEndedSink sink,
                                               std::string sandbox_id) {
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
        state.boot_time_ms =
            std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - state.received)
                .count();
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
