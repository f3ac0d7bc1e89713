#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "pipeline/store/record_store.hpp"

namespace nanobox {

/// The watches of one store. Events are queued while the store holds its lock, and delivered after it let go: by one
/// thread at a time, so each callback sees them in order and may use the store.
class RecordWatches {
public:
  std::unique_ptr<RecordWatch> add(std::string_view kind, std::function<void(const RecordEvent&)> on_change);
  void queue(std::vector<RecordEvent> events);
  /// Delivers what is queued, unless another thread is at it (it will then deliver these too).
  void deliver();

private:
  struct Watcher;
  class Handle;
  std::mutex mutex_;
  std::vector<std::weak_ptr<Watcher>> watchers_;
  std::deque<RecordEvent> queue_;
  bool delivering_ = false;
};

}  // namespace nanobox
