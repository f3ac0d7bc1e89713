#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "config/error.hpp"

namespace nanobox {

class Poller;

/// A file descriptor under watch. Its destructor returns once the callback neither runs nor will run again; called
/// within the callback itself it returns at once. The descriptor stays the caller's and must outlive the watch.
class PollWatch {
public:
  PollWatch() = default;
  PollWatch(PollWatch&& other) noexcept;
  PollWatch& operator=(PollWatch&& other) noexcept;
  ~PollWatch();

  /// Changes what is waited for: EPOLLIN, EPOLLOUT (level-triggered), 0 for neither. Any thread.
  void want(std::uint32_t events);
  void reset();
  explicit operator bool() const noexcept { return id_ != 0; }

private:
  friend class Poller;
  PollWatch(std::shared_ptr<Poller> poller, std::uint64_t id, int fd) : poller_(std::move(poller)), id_(id), fd_(fd) {}
  std::shared_ptr<Poller> poller_;
  std::uint64_t id_ = 0;
  int fd_ = -1;
};

/// One thread with epoll. All callbacks run on it, one after the other; they must not block or throw.
class Poller : public std::enable_shared_from_this<Poller> {
public:
  /// @errors io_failed
  static Result<std::shared_ptr<Poller>> start();
  ~Poller();

  /// @param callback  gets what became true (EPOLLIN, EPOLLOUT, EPOLLHUP, EPOLLERR)
  Result<PollWatch> watch(int fd, std::uint32_t events, std::function<void(std::uint32_t)> callback);
  /// Runs `callback` once after `delay`, unless the watch is destroyed before.
  PollWatch after(std::chrono::milliseconds delay, std::function<void()> callback);
  bool in_poller_thread() const;

private:
  friend class PollWatch;
  struct State;
  explicit Poller(std::shared_ptr<State> state);
  void remove(std::uint64_t id, int fd);
  std::shared_ptr<State> state_;
};

/// The few pollers of a node; a VM stays with one, so that its callbacks never overlap.
class PollerSet {
public:
  /// @param threads  0: one for each two cores, at least one
  static Result<std::shared_ptr<PollerSet>> start(unsigned threads = 0);
  explicit PollerSet(std::vector<std::shared_ptr<Poller>> pollers) : pollers_(std::move(pollers)) {}

  /// The next one in turn. Any thread.
  std::shared_ptr<Poller> next();
  std::size_t size() const { return pollers_.size(); }

private:
  std::vector<std::shared_ptr<Poller>> pollers_;
  std::atomic<std::size_t> turn_{0};
};

}  // namespace nanobox
