#include "actors/exec_collector.hpp"

#include "actors/job.hpp"

namespace nanobox {

namespace {

using Self = ExecCollectorActor::stateful_pointer<ExecCollectorState>;

constexpr std::chrono::seconds kOpenDeadline{60};
/// The guest ends a command at its deadline; so much later we stop to believe that it will.
constexpr std::chrono::seconds kGrace{30};
constexpr std::chrono::seconds kFileDeadline{120};

OutputSpool& spool_of(Self self, std::size_t part) {
  return part == 0 ? *self->state.outcome.stdout_spool : *self->state.outcome.stderr_spool;
}

void give_up(Self self, const Error& error) {
  auto& state = self->state;
  if (state.stream) state.stream->close();
  if (state.promise) std::exchange(state.promise, std::nullopt)->deliver(to_caf(error));
  self->quit();
}

void finish_if_done(Self self) {
  auto& state = self->state;
  if (!state.ended || state.writing || !state.promise) return;
  std::exchange(state.promise, std::nullopt)->deliver(std::move(state.outcome));
  self->quit();
}

void write_waiting(Self self);

/// Keeps `bytes`, in memory while they fit, else by a job. Credit comes back when they are kept.
void take_output(Self self, std::size_t part, std::string bytes) {
  auto& state = self->state;
  auto& waiting = state.waiting[part];
  if (waiting.empty() && !state.writing && !spool_of(self, part).appends_to_file(bytes.size())) {
    const auto size = bytes.size();
    if (const auto kept = spool_of(self, part).append(bytes); !kept) return give_up(self, kept.error());
    state.stream->grant(size);
    return;
  }
  waiting += bytes;
  write_waiting(self);
}

void write_waiting(Self self) {
  auto& state = self->state;
  if (state.writing || (state.waiting[0].empty() && state.waiting[1].empty())) return;
  state.writing = true;
  const std::size_t size = state.waiting[0].size() + state.waiting[1].size();
  request_job(self, kFileDeadline,
              [out = state.outcome.stdout_spool, err = state.outcome.stderr_spool,
               out_bytes = std::exchange(state.waiting[0], {}),
               err_bytes = std::exchange(state.waiting[1], {})]() -> Result<bool> {
                NANOBOX_TRY(out->append(out_bytes));
                NANOBOX_TRY(err->append(err_bytes));
                return true;
              })
      .then(
          [self, size](bool) {
            self->state.writing = false;
            self->state.stream->grant(size);
            write_waiting(self);
            finish_if_done(self);
          },
          [self](caf::error& error) { give_up(self, from_caf(error, "keep a command's output")); });
}

void opened(Self self, const GuestStream& stream) {
  auto& state = self->state;
  state.stream = stream;
  state.started = std::chrono::steady_clock::now();
  self->monitor(stream.source);
  state.stdin_feed->feed(stream, 0);
  if (const auto deadline_ms = state.request.deadline_ms; deadline_ms > 0)
    self->delayed_send(self, std::chrono::milliseconds(deadline_ms) + kGrace, tick_atom_v);
}

}  // namespace

ExecCollectorActor::behavior_type exec_collector(Self self, const SpoolPlace& spools, GuestAccessActor guests,
                                                 std::string sandbox_id, ExecCommand command) {
  auto& state = self->state;
  // Without one its stdin is empty, and closed all the same.
  state.stdin_feed.emplace(std::move(command.stdin_bytes).value_or(""));
  state.request = std::move(command.request);
  const auto spool = [&] {
    return std::make_shared<OutputSpool>(spools.folder, spools.budget, command.max_output_bytes);
  };
  state.outcome.stdout_spool = spool();
  state.outcome.stderr_spool = spool();
  self->set_down_handler([self, sandbox_id](const caf::down_msg& down) {
    give_up(self, stream_ended(down, "run a command in", sandbox_id));
  });
  // Who asked is told all the same: it would wait for ever.
  self->set_exit_handler([self, sandbox_id](const caf::exit_msg&) {
    give_up(self, {.code = ErrorCode::cancelled,
                   .attempted = "run a command in",
                   .subject = sandbox_id,
                   .reason = "the client left",
                   .mend = ""});
  });
  return {
      [self](opened_atom, const Opened& opened) {
        // Of a detached command nothing more is told.
        self->state.ended = self->state.ended || opened.last;
        finish_if_done(self);
      },
      [self](bytes_atom, const StreamData& data) {
        take_output(self, data.part == StreamPart::stderr_part ? 1 : 0, std::string(data.text()));
      },
      [](gap_atom, const OutputGap&) {},
      [self](window_atom, const StdinWindow& window) {
        self->state.stdin_feed->feed(*self->state.stream, window.queued);
      },
      [self](exit_atom, const StreamExit& exit) {
        auto& outcome = self->state.outcome;
        outcome.end = command_end(exit.exit_code, exit.signal, exit.timed_out);
        outcome.duration_ms = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() -
                                                                                    self->state.started)
                                  .count();
        self->state.ended = true;
        finish_if_done(self);
      },
      [self](failed_atom, const Error& error) { give_up(self, error); },
      [self, guests, sandbox_id](exec_atom) -> caf::result<ExecOutcome> {
        auto& state = self->state;
        state.promise = self->make_response_promise<ExecOutcome>();
        self->request(guests, kOpenDeadline, open_atom_v, sandbox_id, StreamRequest(state.request), StreamSink(self))
            .then([self](const GuestStream& stream) { opened(self, stream); },
                  [self](caf::error& error) { give_up(self, from_caf(error, "run a command")); });
        return *state.promise;
      },
      [self, sandbox_id](tick_atom) {
        give_up(self, {.code = ErrorCode::deadline_exceeded,
                       .attempted = "run a command in",
                       .subject = sandbox_id,
                       .reason = "the guest did not end it at its deadline",
                       .mend = "look at the sandbox's logs"});
      },
  };
}

}  // namespace nanobox
