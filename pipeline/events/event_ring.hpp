#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "config/ascending_ids.hpp"
#include "pipeline/events/event_filter.hpp"

namespace nanobox {

/// The latest events. Thread-safe; nothing here waits for anything but a short lock.
class EventRing {
public:
  using Value = std::shared_ptr<const Event>;
  /// Called after each event, in their order, on the thread that added it: must not block, and not add events.
  using Watcher = std::function<void(const Value&)>;

  explicit EventRing(std::size_t keep) : keep_(keep) {}

  /// Gives the event its id and time; the oldest beyond `keep` goes.
  Value add(NewEvent event);

  /// A place between two events: all up to the one of that number are behind it.
  using Place = std::uint64_t;
  /// Behind the newest.
  Place end() const;
  /// Behind the event of this id. One that is not known (any more) is before the first that is kept and came later;
  /// `complete` says whether nothing has gone that came after it.
  struct Found {
    Place place = 0;
    bool complete = true;
  };
  Found find(const std::string& id) const;

  struct Slice {
    std::vector<Value> events;
    Place next = 0;      ///< where to go on
    bool at_end = true;  ///< nothing was behind it
    bool gap = false;    ///< events behind the place had gone already
  };
  /// What passes the filter behind `place`, at most `most`.
  Slice behind(Place place, const EventFilter& filter, std::size_t most) const;
  /// The id of the oldest event that is kept; of none, the one after which they are to come.
  std::string oldest() const;

  /// Ends the watch when destroyed; no call is running or follows after that.
  class Watch {
  public:
    Watch() = default;
    Watch(EventRing* ring, std::uint64_t number) : ring_(ring), number_(number) {}
    Watch(Watch&& other) noexcept : ring_(std::exchange(other.ring_, nullptr)), number_(other.number_) {}
    Watch& operator=(Watch&& other) noexcept {
      std::swap(ring_, other.ring_);
      std::swap(number_, other.number_);
      return *this;
    }
    Watch(const Watch&) = delete;
    Watch& operator=(const Watch&) = delete;
    ~Watch();

  private:
    EventRing* ring_ = nullptr;
    std::uint64_t number_ = 0;
  };
  [[nodiscard]] Watch watch(Watcher watcher);

private:
  const std::size_t keep_;
  AscendingIds ids_{"ev"};
  mutable std::mutex mutex_;
  std::deque<Value> events_;
  std::uint64_t gone_ = 0;           ///< how many were kept and are not any more
  std::string floor_ = ids_.next();  ///< nothing with a greater id has gone
  std::mutex watchers_mutex_;        ///< held while events are told of, so that they are in their order
  std::map<std::uint64_t, Watcher> watchers_;
  std::uint64_t last_watch_ = 0;
};

}  // namespace nanobox
