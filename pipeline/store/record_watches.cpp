#include "pipeline/store/record_watches.hpp"

namespace nanobox {

struct RecordWatches::Watcher {
  std::string kind;
  std::function<void(const RecordEvent&)> on_change;
  std::recursive_mutex calling;  // recursive: a callback may end its own watch
  bool ended = false;
};

class RecordWatches::Handle final : public RecordWatch {
public:
  explicit Handle(std::shared_ptr<Watcher> watcher) : watcher_(std::move(watcher)) {}
  ~Handle() override {
    const std::lock_guard lock(watcher_->calling);
    watcher_->ended = true;
  }

private:
  std::shared_ptr<Watcher> watcher_;
};

std::unique_ptr<RecordWatch> RecordWatches::add(std::string_view kind,
                                                std::function<void(const RecordEvent&)> on_change) {
  auto watcher = std::make_shared<Watcher>();
  watcher->kind = kind;
  watcher->on_change = std::move(on_change);
  const std::lock_guard lock(mutex_);
  std::erase_if(watchers_, [](const auto& other) { return other.expired(); });
  watchers_.push_back(watcher);
  return std::make_unique<Handle>(std::move(watcher));
}

void RecordWatches::queue(std::vector<RecordEvent> events) {
  const std::lock_guard lock(mutex_);
  for (auto& event : events) queue_.push_back(std::move(event));
}

void RecordWatches::deliver() {
  std::unique_lock lock(mutex_);
  if (delivering_) return;
  delivering_ = true;
  while (!queue_.empty()) {
    const RecordEvent event = std::move(queue_.front());
    queue_.pop_front();
    const auto watchers = watchers_;
    lock.unlock();
    for (const auto& weak : watchers) {
      const auto watcher = weak.lock();
      if (!watcher || watcher->kind != event.record.kind) continue;
      const std::lock_guard calling(watcher->calling);
      if (!watcher->ended) watcher->on_change(event);
    }
    lock.lock();
  }
  delivering_ = false;
}

}  // namespace nanobox
