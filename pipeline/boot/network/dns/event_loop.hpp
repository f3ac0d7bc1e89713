#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <unordered_map>
#include <utility>

#include "config/error.hpp"
#include "config/unique_fd.hpp"

namespace nanobox {

class EventLoop;

/// A descriptor or a timer of a loop; nothing is called once it is destroyed, which its own callback may do. The
/// descriptor must outlive it, and so must the loop.
class LoopWatch {
public:
  LoopWatch() = default;
  LoopWatch(LoopWatch&& other) noexcept;
  LoopWatch& operator=(LoopWatch&& other) noexcept;
  ~LoopWatch() { reset(); }

  /// Changes what is waited for: EPOLLIN, EPOLLOUT (level-triggered), 0 for neither.
  void want(std::uint32_t events);
  void reset();
  explicit operator bool() const noexcept { return loop_ != nullptr; }

private:
  friend class EventLoop;
  LoopWatch(EventLoop* loop, std::uint64_t id, int fd) : loop_(loop), id_(id), fd_(fd) {}
  EventLoop* loop_ = nullptr;
  std::uint64_t id_ = 0;
  int fd_ = -1;  ///< of a timer -1
};

/// epoll for what lives on one thread: unlike `Poller` it has no locks, and its owner decides who runs it. All but
/// `stop` belongs to the thread in `run`, or to one before it runs or after.
class EventLoop {
public:
  /// @errors io_failed
  static Result<std::unique_ptr<EventLoop>> make();

  /// @param callback  gets what became true
  Result<LoopWatch> watch(int fd, std::uint32_t events, std::function<void(std::uint32_t)> callback);
  /// Once, unless destroyed before.
  LoopWatch after(std::chrono::milliseconds delay, std::function<void()> callback);

  /// Until `stop`. What a callback throws ends there.
  void run() noexcept;
  /// Any thread, at any time; stays stopped.
  void stop() noexcept;

private:
  friend class LoopWatch;
  using Time = std::chrono::steady_clock::time_point;
  using Callback = std::function<void(std::uint32_t)>;

  EventLoop() = default;
  int milliseconds_to_next_timer() const;
  void call(std::uint64_t id, std::uint32_t events) noexcept;
  void call_due_timers() noexcept;

  UniqueFd epoll_, wake_;
  std::uint64_t next_id_ = 1;
  std::unordered_map<std::uint64_t, std::shared_ptr<Callback>> callbacks_;
  std::set<std::pair<Time, std::uint64_t>> timers_;  ///< when due, and the id
  std::unordered_map<std::uint64_t, Time> due_;
};

}  // namespace nanobox
