#include "actors/audit_log.hpp"

#include "config/log.hpp"

namespace nanobox {

namespace {

using Self = caf::stateful_actor<AuditLogState>*;
/// What a daemon that is killed may lose is what came within it.
constexpr std::chrono::milliseconds kGather{100};
constexpr std::chrono::seconds kAgain{2};
constexpr std::chrono::hours kRetire{1};
constexpr std::size_t kRetireAfter = 5'000;

void write_later(Self self, std::chrono::milliseconds pause) {
  if (!std::exchange(self->state.writing, true)) self->delayed_send(self, pause, record_atom_v);
}

void say(Self self, const char* type, const std::string& reason, std::uint64_t lost) {
  if (lost > 0) log_error(LogComponent::events, {}, "{} entries of the audit are lost", lost);
  self->state.events->add(
      {.type = type,
       .subject = "",
       .node_id = "",
       .owner = "",
       .data = EventData().text("reason", reason).number("lost", static_cast<std::int64_t>(lost)).take()});
}

void retire(Self self) {
  self->state.written = 0;
  if (auto retired = self->state.trail->retire(wall_now()); !retired)
    log_error(LogComponent::events, {}, "{}", describe(retired.error()));
}

void write(Self self) {
  auto& state = self->state;
  state.written += state.trail->waiting();
  const auto written = state.trail->write();
  if (!written && !std::exchange(state.failing, true)) {
    log_error(LogComponent::events, {}, "{}", describe(written.error()));
    say(self, "audit.failed", describe(written.error()), state.trail->take_lost());
  }
  if (!written) return write_later(self, kAgain);
  const auto lost = state.trail->take_lost();
  if (std::exchange(state.failing, false))
    say(self, "audit.resumed", "", lost);
  else if (lost > 0)
    say(self, "audit.failed", "entries came faster than they could be written", lost);
  if (state.written >= kRetireAfter) retire(self);
}

}  // namespace

caf::behavior audit_log(Self self, std::shared_ptr<AuditTrail> trail, std::shared_ptr<EventRing> events) {
  self->state.trail = std::move(trail);
  self->state.events = std::move(events);
  self->set_exit_handler([self](const caf::exit_msg& exit) {
    if (const auto written = self->state.trail->write(); !written)
      log_error(LogComponent::events, {}, "{}", describe(written.error()));
    self->quit(exit.reason);
  });
  self->state.trail->on_waiting([who = self->address()] {
    if (const auto actor = caf::actor_cast<caf::actor>(who)) caf::anon_send(actor, work_atom_v);
  });
  // What one that died left.
  self->send(self, work_atom_v);
  self->send(self, tick_atom_v);
  return {
      [self](work_atom) { write_later(self, kGather); },
      [self](record_atom) {
        self->state.writing = false;
        write(self);
      },
      [self](tick_atom tick) {
        retire(self);
        self->delayed_send(self, kRetire, tick);
      },
  };
}

}  // namespace nanobox
