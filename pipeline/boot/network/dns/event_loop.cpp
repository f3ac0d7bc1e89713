#include "pipeline/boot/network/dns/event_loop.hpp"

#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

namespace nanobox {

namespace {

constexpr std::uint64_t kWake = 0;

}  // namespace

LoopWatch::LoopWatch(LoopWatch&& other) noexcept
    : loop_(std::exchange(other.loop_, nullptr)), id_(other.id_), fd_(other.fd_) {}

LoopWatch& LoopWatch::operator=(LoopWatch&& other) noexcept {
  if (this != &other) {
    reset();
    loop_ = std::exchange(other.loop_, nullptr);
    id_ = other.id_;
    fd_ = other.fd_;
  }
  return *this;
}

void LoopWatch::want(std::uint32_t events) {
  if (loop_ == nullptr || fd_ < 0) return;
  epoll_event event{.events = events, .data = {.u64 = id_}};
  epoll_ctl(loop_->epoll_.get(), EPOLL_CTL_MOD, fd_, &event);
}

void LoopWatch::reset() {
  if (loop_ == nullptr) return;
  auto* const loop = std::exchange(loop_, nullptr);
  if (fd_ >= 0) epoll_ctl(loop->epoll_.get(), EPOLL_CTL_DEL, fd_, nullptr);
  if (const auto due = loop->due_.find(id_); due != loop->due_.end()) {
    loop->timers_.erase({due->second, id_});
    loop->due_.erase(due);
  }
  // Destroyed last: what the callback holds may own watches of the same loop.
  const auto callback = loop->callbacks_.extract(id_);
}

Result<std::unique_ptr<EventLoop>> EventLoop::make() {
  std::unique_ptr<EventLoop> loop(new EventLoop);
  loop->epoll_.reset(epoll_create1(EPOLL_CLOEXEC));
  loop->wake_.reset(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  epoll_event event{.events = EPOLLIN, .data = {.u64 = kWake}};
  if (!loop->epoll_ || !loop->wake_ || epoll_ctl(loop->epoll_.get(), EPOLL_CTL_ADD, loop->wake_.get(), &event) != 0)
    return fail(errno_error(errno, "start an event loop", "epoll"));
  return loop;
}

Result<LoopWatch> EventLoop::watch(int fd, std::uint32_t events, std::function<void(std::uint32_t)> callback) {
  const auto id = next_id_++;
  epoll_event event{.events = events, .data = {.u64 = id}};
  callbacks_.emplace(id, std::make_shared<Callback>(std::move(callback)));
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) {
    const int number = errno;
    callbacks_.erase(id);
    return fail(errno_error(number, "watch a descriptor", std::to_string(fd)));
  }
  return LoopWatch(this, id, fd);
}

LoopWatch EventLoop::after(std::chrono::milliseconds delay, std::function<void()> callback) {
  const auto id = next_id_++;
  LoopWatch timer(this, id, -1);
  const auto due = std::chrono::steady_clock::now() + delay;
  callbacks_.emplace(id, std::make_shared<Callback>([callback = std::move(callback)](auto) { callback(); }));
  due_.emplace(id, due);
  timers_.emplace(due, id);
  return timer;
}

void EventLoop::run() noexcept {
  std::array<epoll_event, 64> ready{};
  for (;;) {
    const int count = epoll_wait(epoll_.get(), ready.data(), ready.size(), milliseconds_to_next_timer());
    for (int i = 0; i < count; ++i) {
      const auto& event = ready[static_cast<std::size_t>(i)];
      if (event.data.u64 == kWake) return;
      call(event.data.u64, event.events);
    }
    call_due_timers();
  }
}

void EventLoop::stop() noexcept {
  eventfd_write(wake_.get(), 1);
}

int EventLoop::milliseconds_to_next_timer() const {
  if (timers_.empty()) return -1;
  const auto wait = timers_.begin()->first - std::chrono::steady_clock::now();
  if (wait <= wait.zero()) return 0;
  return static_cast<int>(std::min<std::int64_t>(std::chrono::ceil<std::chrono::milliseconds>(wait).count(), 60'000));
}

void EventLoop::call(std::uint64_t id, std::uint32_t events) noexcept {
  const auto found = callbacks_.find(id);
  if (found == callbacks_.end()) return;
  const auto callback = found->second;
  try {
    (*callback)(events);
  } catch (...) {  // out of memory: the one it was for has lost, all others go on
  }
}

void EventLoop::call_due_timers() noexcept {
  const auto now = std::chrono::steady_clock::now();
  while (!timers_.empty() && timers_.begin()->first <= now) {
    const auto id = timers_.begin()->second;
    timers_.erase(timers_.begin());
    due_.erase(id);
    call(id, 0);
  }
}

}  // namespace nanobox
