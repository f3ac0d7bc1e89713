#pragma once

#include <atomic>
#include <caf/actor.hpp>
#include <caf/actor_system.hpp>
#include <memory>
#include <vector>

#include "actors/boards.hpp"
#include "config/settings.hpp"
#include "http/served_request.hpp"
#include "pipeline/events/event_ring.hpp"
#include "pipeline/events/webhook.hpp"
#include "pipeline/store/audit_trail.hpp"

namespace nanobox {

/// What a control plane records of what happens and of what is asked of it: events, webhooks, the audit.
class Recording {
public:
  explicit Recording(const LoadedSettings& loaded);

  /// Starts what writes the audit and tells the webhooks.
  void start(caf::actor_system& system, const std::shared_ptr<Boards>& boards);
  /// What waits for the audit is written before the actor system ends; what waits for webhooks is dropped. Once.
  void stop();

  const std::shared_ptr<EventRing>& events() const { return events_; }
  const std::shared_ptr<AuditTrail>& audit() const { return audit_; }  ///< null: none is kept
  const std::vector<std::shared_ptr<WebhookQueue>>& webhooks() const { return webhooks_; }
  /// What is to be told of every request.
  http::ServedRequestSink sink() const;

private:
  std::shared_ptr<EventRing> events_;
  std::shared_ptr<AuditTrail> audit_;
  std::vector<std::shared_ptr<WebhookQueue>> webhooks_;
  std::shared_ptr<std::atomic<bool>> stop_ = std::make_shared<std::atomic<bool>>(false);
  std::vector<caf::actor> actors_;
  std::vector<EventRing::Watch> watches_;
};

}  // namespace nanobox
