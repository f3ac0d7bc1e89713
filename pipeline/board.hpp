#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <utility>
#include <vector>

namespace nanobox {

/// The latest value of each key, published by the one actor that owns them and read by any thread without asking it.
/// Values are immutable once published. Thread-safe.
template <class T>
class Board {
public:
  using Value = std::shared_ptr<const T>;
  /// Null once the key is gone.
  using Watcher = std::function<void(const Value&)>;
  using AllWatcher = std::function<void(const std::string& key, const Value&)>;

  /// Ends the watch when destroyed; no call is running or follows after that.
  class Watch {
  public:
    Watch() = default;
    Watch(Board* board, std::uint64_t number) : board_(board), number_(number) {}
    Watch(Watch&& other) noexcept : board_(std::exchange(other.board_, nullptr)), number_(other.number_) {}
    Watch& operator=(Watch&& other) noexcept {
      std::swap(board_, other.board_);
      std::swap(number_, other.number_);
      return *this;
    }
    Watch(const Watch&) = delete;
    Watch& operator=(const Watch&) = delete;
    ~Watch() {
      if (board_ != nullptr) board_->unwatch(number_);
    }

  private:
    Board* board_ = nullptr;
    std::uint64_t number_ = 0;
  };

  void publish(const std::string& key, T value) {
    auto shared = std::make_shared<const T>(std::move(value));
    {
      const std::unique_lock lock(mutex_);
      values_[key] = shared;
    }
    tell(key, shared);
  }

  void erase(const std::string& key) {
    {
      const std::unique_lock lock(mutex_);
      values_.erase(key);
    }
    tell(key, nullptr);
  }

  Value find(const std::string& key) const {
    const std::shared_lock lock(mutex_);
    const auto found = values_.find(key);
    return found == values_.end() ? nullptr : found->second;
  }

  /// All values, by key.
  std::vector<Value> all() const {
    const std::shared_lock lock(mutex_);
    std::vector<Value> values;
    values.reserve(values_.size());
    for (const auto& [key, value] : values_) values.push_back(value);
    return values;
  }

  /// Drops the first keys (the oldest, where keys are ULIDs) beyond `keep` for which `may_drop` holds.
  void keep_newest(std::size_t keep, const std::function<bool(const T&)>& may_drop) {
    const std::unique_lock lock(mutex_);
    for (auto it = values_.begin(); it != values_.end() && values_.size() > keep;)
      it = may_drop(*it->second) ? values_.erase(it) : std::next(it);
  }

  /// Calls `watcher` after each change of `key`, from the publisher's thread: it must not block.
  [[nodiscard]] Watch watch(std::string key, Watcher watcher) {
    const std::lock_guard lock(watchers_mutex_);
    watchers_.emplace(++last_watch_, std::pair(std::move(key), std::move(watcher)));
    return Watch(this, last_watch_);
  }

  /// The same for every key.
  [[nodiscard]] Watch watch_all(AllWatcher watcher) {
    const std::lock_guard lock(watchers_mutex_);
    watchers_of_all_.emplace(++last_watch_, std::move(watcher));
    return Watch(this, last_watch_);
  }

private:
  void tell(const std::string& key, const Value& value) {
    const std::lock_guard lock(watchers_mutex_);
    for (auto& [number, entry] : watchers_)
      if (entry.first == key) entry.second(value);
    for (auto& [number, watcher] : watchers_of_all_) watcher(key, value);
  }
  void unwatch(std::uint64_t number) {
    const std::lock_guard lock(watchers_mutex_);
    watchers_.erase(number);
    watchers_of_all_.erase(number);
  }

  mutable std::shared_mutex mutex_;
  std::map<std::string, Value> values_;
  std::recursive_mutex watchers_mutex_;
  std::map<std::uint64_t, std::pair<std::string, Watcher>> watchers_;
  std::map<std::uint64_t, AllWatcher> watchers_of_all_;
  std::uint64_t last_watch_ = 0;
};

}  // namespace nanobox
