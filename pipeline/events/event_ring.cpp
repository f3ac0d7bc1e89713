#include "pipeline/events/event_ring.hpp"

#include <algorithm>

namespace nanobox {

EventRing::Value EventRing::add(NewEvent event) {
  const std::lock_guard telling(watchers_mutex_);
  Event kept;
  static_cast<NewEvent&>(kept) = std::move(event);
  kept.time = wall_now();
  kept.id = ids_.next();
  auto value = std::make_shared<const Event>(std::move(kept));
  {
    const std::lock_guard lock(mutex_);
    events_.push_back(value);
    while (events_.size() > keep_) {
      floor_ = events_.front()->id;
      events_.pop_front();
      ++gone_;
    }
  }
  for (const auto& [number, watcher] : watchers_) watcher(value);
  return value;
}

EventRing::Place EventRing::end() const {
  const std::lock_guard lock(mutex_);
  return gone_ + events_.size();
}

EventRing::Found EventRing::find(const std::string& id) const {
  const std::lock_guard lock(mutex_);
  const auto behind = std::ranges::upper_bound(events_, id, {}, [](const Value& event) { return event->id; });
  return {.place = gone_ + static_cast<std::uint64_t>(behind - events_.begin()), .complete = id >= floor_};
}

EventRing::Slice EventRing::behind(Place place, const EventFilter& filter, std::size_t most) const {
  const std::lock_guard lock(mutex_);
  Slice slice{.events = {}, .next = std::max(place, gone_), .at_end = true, .gap = place < gone_};
  for (auto at = slice.next - gone_; at < events_.size(); ++at) {
    if (slice.events.size() == most) {
      slice.at_end = false;
      break;
    }
    if (filter.lets(*events_[at])) slice.events.push_back(events_[at]);
    ++slice.next;
  }
  return slice;
}

std::string EventRing::oldest() const {
  const std::lock_guard lock(mutex_);
  return events_.empty() ? floor_ : events_.front()->id;
}

EventRing::Watch EventRing::watch(Watcher watcher) {
  const std::lock_guard lock(watchers_mutex_);
  watchers_.emplace(++last_watch_, std::move(watcher));
  return {this, last_watch_};
}

EventRing::Watch::~Watch() {
  if (ring_ == nullptr) return;
  const std::lock_guard lock(ring_->watchers_mutex_);
  ring_->watchers_.erase(number_);
}

}  // namespace nanobox
