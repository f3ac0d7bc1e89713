#pragma once

#include <caf/event_based_actor.hpp>
#include <caf/stateful_actor.hpp>
#include <memory>
#include <random>

#include "actors/messages.hpp"
#include "pipeline/events/webhook.hpp"

namespace nanobox {

struct WebhookSenderState {
  static inline const char* name = "webhook_sender";
  std::shared_ptr<WebhookQueue> queue;
  WebhookRetry retry;
  std::shared_ptr<const std::atomic<bool>> stop;
  std::uint32_t attempts = 0;  ///< of the event in front
  bool waiting = false;        ///< for the next attempt
  std::minstd_rand chance;
};

/// Tells one webhook of events, one after the other. Detached: an attempt blocks, `stop` ends it early.
caf::behavior webhook_sender(caf::stateful_actor<WebhookSenderState>* self, std::shared_ptr<WebhookQueue> queue,
                             std::shared_ptr<const std::atomic<bool>> stop, WebhookRetry retry);

/// Has the queue take what happens from now on, and wakes its sender. The queue is there also while the sender is not.
[[nodiscard]] EventRing::Watch feed_webhook(EventRing& events, std::shared_ptr<WebhookQueue> queue, caf::actor sender);

}  // namespace nanobox
