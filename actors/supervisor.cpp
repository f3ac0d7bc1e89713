#include "actors/supervisor.hpp"

#include <algorithm>

#include "actors/messages.hpp"
#include "config/log.hpp"

namespace nanobox {

namespace {

using Self = caf::stateful_actor<SupervisorState>*;
constexpr std::chrono::seconds kProbeInterval{2};

void start_child(Self self) {
  auto& state = self->state;
  state.child = state.start(self->system());
  self->monitor(state.child);
  state.boards->concerns.publish(state.health.concern, state.health);
}

/// What the probe that is on its way says so far: its answer comes behind all that was handed over before it.
void read_gauge(SupervisorState& state) {
  const auto waited = std::chrono::steady_clock::now() - state.probe->sent;
  state.gauge->wait_us = std::chrono::duration_cast<std::chrono::microseconds>(waited).count();
  state.gauge->mailbox = state.gauge->handed - state.probe->handed;
}

void probe_child(Self self) {
  auto& state = self->state;
  self->delayed_send(self, kProbeInterval, probe_atom_v);
  if (state.probe) return read_gauge(state);
  if (!state.child) return;
  state.probe = {.sent = std::chrono::steady_clock::now(), .handed = state.gauge->handed};
  const auto answered = [self] {
    if (!self->state.probe) return;
    read_gauge(self->state);
    self->state.probe.reset();
  };
  // Every scheduled actor of CAF answers that by itself.
  self->request(state.child, caf::infinite, caf::sys_atom_v, caf::get_atom_v, std::string("info"))
      .then([answered](caf::ok_atom, const std::string&, const caf::strong_actor_ptr&,
                       const std::string&) { answered(); },
            [self](caf::error&) { self->state.probe.reset(); });
}

void child_died(Self self, const caf::down_msg& down) {
  auto& state = self->state;
  if (!state.child || down.source != state.child) return;
  state.child = nullptr;
  state.probe.reset();
  ++state.health.restarts;
  const auto now = self->clock().now();
  auto& deaths = state.health.deaths;
  deaths.push_back(now);
  std::erase_if(deaths, [&](auto death) { return death + state.policy.window < now; });
  state.health.reason = self->system().render(down.reason);
  state.health.unsteady_until.reset();
  if (deaths.size() >= state.policy.unsteady_deaths) state.health.unsteady_until = now + state.policy.window;
  state.boards->concerns.publish(state.health.concern, state.health);

  const auto doublings = std::min<std::size_t>(deaths.size() - 1, 16);
  const auto back_off =
      std::min(state.policy.first_back_off * (std::int64_t{1} << doublings), state.policy.longest_back_off);
  log_error(LogComponent::node, {}, "{} died ({}): it is started again in {} ms", state.health.concern,
            state.health.reason, back_off.count());
  self->delayed_send(self, back_off, retry_atom_v);
}

Error is_down(const std::string& concern) {
  return {.code = ErrorCode::not_ready,
          .attempted = "ask " + concern,
          .subject = "",
          .reason = "it died and is being started again",
          .mend = "try again",
          .transient = true};
}

}  // namespace

caf::behavior supervisor(Self self, std::string concern, StartConcern start, std::shared_ptr<Boards> boards,
                         RestartPolicy policy) {
  auto& state = self->state;
  state.start = std::move(start);
  state.policy = policy;
  state.boards = std::move(boards);
  state.health.concern = std::move(concern);
  state.gauge = std::make_shared<ConcernGauge>();
  state.health.gauge = state.gauge;
  self->set_down_handler([self](caf::down_msg& down) { child_died(self, down); });
  self->set_exit_handler([self](caf::exit_msg& exit) {
    if (self->state.child) self->send_exit(self->state.child, exit.reason);
    self->quit(exit.reason);
  });
  // With the sender's id: the answer goes straight back.
  self->set_default_handler([self](caf::scheduled_actor*, caf::message_view& message) -> caf::result<caf::message> {
    const auto& child = self->state.child;
    if (!child) return to_caf(is_down(self->state.health.concern));
    ++self->state.gauge->handed;
    child->enqueue(self->current_sender(), self->current_message_id(), message.move_content_to_message(),
                   self->context());
    return caf::delegated<caf::message>{};
  });
  start_child(self);
  self->delayed_send(self, kProbeInterval, probe_atom_v);
  return {[self](retry_atom) { start_child(self); }, [self](probe_atom) { probe_child(self); }};
}

}  // namespace nanobox
