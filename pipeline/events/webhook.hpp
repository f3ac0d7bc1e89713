#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/settings.hpp"
#include "pipeline/events/event_ring.hpp"

namespace nanobox {

/// How often and how long apart an event is tried.
struct WebhookRetry {
  std::uint32_t attempts = 8;
  std::chrono::milliseconds first_pause{500};  ///< doubled with each attempt
  std::chrono::milliseconds longest_pause{60'000};
  std::chrono::milliseconds timeout{10'000};  ///< of one attempt
};

/// The pause after so many failed attempts: a random part of its upper half, `chance` in [0, 1).
std::chrono::milliseconds pause_after(const WebhookRetry& retry, std::uint32_t attempts, double chance);

/// "t=UNIX,v1=HEX": HMAC-SHA256 over UNIX + "." + body.
std::string webhook_signature(std::string_view secret, std::int64_t unix_seconds, std::string_view body);

/// One attempt: POST of the event's JSON. Follows no redirect. Blocks; ends early where `stop` becomes true.
/// @errors connection_failed: no answer, or one that is no 2xx
Result<void> post_event(const Settings::Events::Webhook& hook, const Event& event, std::chrono::milliseconds timeout,
                        const std::atomic<bool>& stop);

/// The events that one webhook has yet to be told, in their order, and how it fares. Thread-safe.
class WebhookQueue {
public:
  static constexpr std::size_t kMost = 1'000;

  explicit WebhookQueue(Settings::Events::Webhook hook, std::size_t most = kMost)
      : hook_(std::move(hook)), most_(most) {}
  const Settings::Events::Webhook& hook() const { return hook_; }

  /// What the hook does not want is left out. Beyond `most` the oldest that is not being tried is given up.
  /// @returns whether there was nothing before
  bool add(const EventRing::Value& event);
  /// The next to try; null: none.
  EventRing::Value front() const;
  /// It was told.
  void delivered();
  void failed(const Error& error);
  /// It was tried often enough.
  void give_up();

  struct Status {
    std::uint64_t pending = 0, delivered = 0, failed_attempts = 0, dead_letters = 0;
    std::string last_error;
    std::optional<WallTime> last_delivered_at;
  };
  Status status() const;

private:
  const Settings::Events::Webhook hook_;
  const std::size_t most_;
  mutable std::mutex mutex_;
  std::deque<EventRing::Value> events_;
  Status status_;
};

}  // namespace nanobox
