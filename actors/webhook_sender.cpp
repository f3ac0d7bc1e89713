#include "actors/webhook_sender.hpp"

#include "config/log.hpp"

namespace nanobox {

namespace {

using Self = caf::stateful_actor<WebhookSenderState>*;

void try_next(Self self) {
  auto& state = self->state;
  if (state.waiting || *state.stop) return;
  const auto event = state.queue->front();
  if (!event) return;
  const auto told = post_event(state.queue->hook(), *event, state.retry.timeout, *state.stop);
  if (*state.stop) return;
  if (told) {
    state.queue->delivered();
    state.attempts = 0;
    return self->send(self, work_atom_v);
  }
  state.queue->failed(told.error());
  if (++state.attempts >= state.retry.attempts) {
    log_warn(LogComponent::events, {}, "{}; it is given up after {} attempts", describe(told.error()), state.attempts);
    state.queue->give_up();
    state.attempts = 0;
    return self->send(self, work_atom_v);
  }
  state.waiting = true;
  const auto chance = std::uniform_real_distribution<>(0.0, 1.0)(state.chance);
  self->delayed_send(self, pause_after(state.retry, state.attempts, chance), retry_atom_v);
}

}  // namespace

EventRing::Watch feed_webhook(EventRing& events, std::shared_ptr<WebhookQueue> queue, caf::actor sender) {
  return events.watch([queue = std::move(queue), sender = std::move(sender)](const EventRing::Value& event) {
    if (queue->add(event)) caf::anon_send(sender, work_atom_v);
  });
}

caf::behavior webhook_sender(Self self, std::shared_ptr<WebhookQueue> queue,
                             std::shared_ptr<const std::atomic<bool>> stop, WebhookRetry retry) {
  auto& state = self->state;
  state.queue = std::move(queue);
  state.retry = retry;
  state.stop = std::move(stop);
  state.chance.seed(std::random_device{}());
  // What one that died left.
  self->send(self, work_atom_v);
  return {
      [self](work_atom) { try_next(self); },
      [self](retry_atom) {
        self->state.waiting = false;
        try_next(self);
      },
  };
}

}  // namespace nanobox
