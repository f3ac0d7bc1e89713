#include "pipeline/boot/vmm/poller.hpp"

#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <array>
#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>
#include <unordered_map>

#include "config/unique_fd.hpp"

namespace nanobox {

namespace {

using SteadyTime = std::chrono::steady_clock::time_point;
constexpr std::uint64_t wake_id = 0;

}  // namespace

struct Poller::State {
  UniqueFd epoll;
  UniqueFd wake;
  std::mutex mutex;
  std::condition_variable idle;
  std::uint64_t next_id = 1;
  std::uint64_t running = 0;  // the id whose callback runs now
  bool stopping = false;
  std::unordered_map<std::uint64_t, std::shared_ptr<std::function<void(std::uint32_t)>>> callbacks;
  std::multimap<SteadyTime, std::uint64_t> timers;
  std::thread thread;

  void wake_up() const { eventfd_write(wake.get(), 1); }

  // Negative: nothing is waited for.
  int milliseconds_to_next_timer() {
    const std::lock_guard lock(mutex);
    if (timers.empty()) return -1;
    const auto wait = timers.begin()->first - std::chrono::steady_clock::now();
    if (wait <= wait.zero()) return 0;
    return static_cast<int>(std::min<std::int64_t>(std::chrono::ceil<std::chrono::milliseconds>(wait).count(), 60'000));
  }

  void call(std::uint64_t id, std::uint32_t events) {
    std::shared_ptr<std::function<void(std::uint32_t)>> callback;
    {
      const std::lock_guard lock(mutex);
      const auto found = callbacks.find(id);
      if (found == callbacks.end()) return;
      callback = found->second;
      running = id;
    }
    (*callback)(events);
    callback.reset();
    const std::lock_guard lock(mutex);
    running = 0;
    idle.notify_all();
  }

  void call_due_timers() {
    for (;;) {
      std::uint64_t id = 0;
      {
        const std::lock_guard lock(mutex);
        if (timers.empty() || timers.begin()->first > std::chrono::steady_clock::now()) return;
        id = timers.begin()->second;
        timers.erase(timers.begin());
      }
      call(id, 0);
    }
  }

  void loop() {
    std::array<epoll_event, 64> ready{};
    for (;;) {
      const int count = epoll_wait(epoll.get(), ready.data(), ready.size(), milliseconds_to_next_timer());
      for (int i = 0; i < count; ++i) {
        const auto& event = ready[static_cast<std::size_t>(i)];
        if (event.data.u64 == wake_id) {
          eventfd_t ignored = 0;
          eventfd_read(wake.get(), &ignored);
        } else {
          call(event.data.u64, event.events);
        }
      }
      call_due_timers();
      const std::lock_guard lock(mutex);
      if (stopping) return;
    }
  }
};

PollWatch::PollWatch(PollWatch&& other) noexcept
    : poller_(std::move(other.poller_)), id_(std::exchange(other.id_, 0)), fd_(std::exchange(other.fd_, -1)) {}

PollWatch& PollWatch::operator=(PollWatch&& other) noexcept {
  if (this != &other) {
    reset();
    poller_ = std::move(other.poller_);
    id_ = std::exchange(other.id_, 0);
    fd_ = std::exchange(other.fd_, -1);
  }
  return *this;
}

PollWatch::~PollWatch() {
  reset();
}

void PollWatch::want(std::uint32_t events) {
  if (id_ == 0 || fd_ < 0) return;
  epoll_event event{.events = events, .data = {.u64 = id_}};
  epoll_ctl(poller_->state_->epoll.get(), EPOLL_CTL_MOD, fd_, &event);
}

void PollWatch::reset() {
  if (id_ == 0) return;
  const auto poller = std::move(poller_);
  poller->remove(std::exchange(id_, 0), std::exchange(fd_, -1));
}

Poller::Poller(std::shared_ptr<State> state) : state_(std::move(state)) {}

Result<std::shared_ptr<Poller>> Poller::start() {
  auto state = std::make_shared<State>();
  state->epoll.reset(epoll_create1(EPOLL_CLOEXEC));
  state->wake.reset(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!state->epoll || !state->wake) return fail(errno_error(errno, "start a poller", "epoll"));
  epoll_event event{.events = EPOLLIN, .data = {.u64 = wake_id}};
  if (epoll_ctl(state->epoll.get(), EPOLL_CTL_ADD, state->wake.get(), &event) != 0)
    return fail(errno_error(errno, "start a poller", "epoll"));
  std::shared_ptr<Poller> poller(new Poller(state));
  try {
    state->thread = std::thread([state] { state->loop(); });
  } catch (const std::system_error& error) {
    return fail(errno_error(error.code().value(), "start a poller", "thread"));
  }
  return poller;
}

Poller::~Poller() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->stopping = true;
  }
  state_->wake_up();
  if (!state_->thread.joinable()) return;
  if (!in_poller_thread()) {
    state_->thread.join();
    return;
  }
  state_->thread.detach();  // the last user went in a callback; the thread keeps the state until it leaves its loop
}

Result<PollWatch> Poller::watch(int fd, std::uint32_t events, std::function<void(std::uint32_t)> callback) {
  std::uint64_t id = 0;
  {
    const std::lock_guard lock(state_->mutex);
    id = state_->next_id++;
    state_->callbacks.emplace(id, std::make_shared<std::function<void(std::uint32_t)>>(std::move(callback)));
  }
  epoll_event event{.events = events, .data = {.u64 = id}};
  if (epoll_ctl(state_->epoll.get(), EPOLL_CTL_ADD, fd, &event) != 0) {
    const int number = errno;
    const std::lock_guard lock(state_->mutex);
    state_->callbacks.erase(id);
    return fail(errno_error(number, "watch a descriptor", std::to_string(fd)));
  }
  return PollWatch(shared_from_this(), id, fd);
}

PollWatch Poller::after(std::chrono::milliseconds delay, std::function<void()> callback) {
  std::uint64_t id = 0;
  {
    const std::lock_guard lock(state_->mutex);
    id = state_->next_id++;
    state_->callbacks.emplace(id, std::make_shared<std::function<void(std::uint32_t)>>(
                                      [callback = std::move(callback)](auto) { callback(); }));
    state_->timers.emplace(std::chrono::steady_clock::now() + delay, id);
  }
  if (!in_poller_thread()) state_->wake_up();
  return PollWatch(shared_from_this(), id, -1);
}

bool Poller::in_poller_thread() const {
  return std::this_thread::get_id() == state_->thread.get_id();
}

void Poller::remove(std::uint64_t id, int fd) {
  if (fd >= 0) epoll_ctl(state_->epoll.get(), EPOLL_CTL_DEL, fd, nullptr);
  decltype(State::callbacks)::node_type callback;  // destroyed after the lock: its captures may hold watches
  std::unique_lock lock(state_->mutex);
  callback = state_->callbacks.extract(id);
  if (fd < 0) std::erase_if(state_->timers, [id](const auto& timer) { return timer.second == id; });
  if (in_poller_thread()) return;
  state_->idle.wait(lock, [&] { return state_->running != id; });
}

Result<std::shared_ptr<PollerSet>> PollerSet::start(unsigned threads) {
  if (threads == 0) threads = std::max(1U, std::thread::hardware_concurrency() / 2);
  std::vector<std::shared_ptr<Poller>> pollers;
  for (unsigned i = 0; i < threads; ++i) pollers.push_back(NANOBOX_TRY(Poller::start()));
  return std::make_shared<PollerSet>(std::move(pollers));
}

std::shared_ptr<Poller> PollerSet::next() {
  return pollers_[turn_++ % pollers_.size()];
}

}  // namespace nanobox
