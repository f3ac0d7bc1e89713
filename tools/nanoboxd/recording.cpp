#include "tools/nanoboxd/recording.hpp"

#include <caf/send.hpp>

#include "actors/audit_log.hpp"
#include "actors/supervisor.hpp"
#include "actors/webhook_sender.hpp"
#include "http/audit.hpp"
#include "http/capacity_refusal.hpp"

namespace nanobox {

namespace {

NewEvent event_of(const http::CapacityRefusal& refusal) {
  EventData data;
  data.text("code", refusal.code).text("detail", refusal.detail).text("method", refusal.method);
  data.text("route", refusal.route).number("more", static_cast<std::int64_t>(refusal.more));
  return {.type = "capacity.refused",
          .subject = refusal.subject,
          .node_id = "",
          .owner = refusal.owner,
          .data = data.take()};
}

}  // namespace

Recording::Recording(const LoadedSettings& loaded)
    : events_(std::make_shared<EventRing>(static_cast<std::size_t>(loaded.settings.events.keep))) {
  const auto& audit = loaded.settings.audit;
  if (audit.enabled)
    audit_ = std::make_shared<AuditTrail>(
        loaded.data_folder / "audit.db",
        AuditRetention{.age = std::chrono::days(audit.retention_days), .bytes = audit.max_mb << 20});
  for (const auto& hook : loaded.settings.events.webhooks) webhooks_.push_back(std::make_shared<WebhookQueue>(hook));
}

void Recording::start(caf::actor_system& system, const std::shared_ptr<Boards>& boards) {
  if (audit_)
    actors_.push_back(supervise(system, "audit_log", boards, [audit = audit_, events = events_](caf::actor_system& on) {
      return on.spawn<caf::detached>(audit_log, audit, events);
    }));
  std::size_t number = 0;
  for (const auto& queue : webhooks_) {
    actors_.push_back(supervise(system, "webhook_sender_" + std::to_string(++number), boards,
                                [queue, stop = stop_](caf::actor_system& on) {
                                  return on.spawn<caf::detached>(webhook_sender, queue, stop, WebhookRetry{});
                                }));
    watches_.push_back(feed_webhook(*events_, queue, actors_.back()));
  }
}

void Recording::stop() {
  *stop_ = true;
  watches_.clear();
  for (const auto& actor : actors_) caf::anon_send_exit(actor, caf::exit_reason::user_shutdown);
  actors_.clear();
}

http::ServedRequestSink Recording::sink() const {
  return [events = events_, audit = audit_,
          refusals = std::make_shared<http::CapacityRefusals>()](const http::ServedRequest& request) {
    if (const auto refusal = refusals->seen(request)) events->add(event_of(*refusal));
    if (!audit) return;
    if (auto entry = http::audit_entry(request)) audit->add(std::move(*entry));
  };
}

}  // namespace nanobox
