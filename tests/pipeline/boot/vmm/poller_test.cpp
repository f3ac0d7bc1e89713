#include "pipeline/boot/vmm/poller.hpp"

#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <future>
#include <thread>

#include "config/unique_fd.hpp"

using namespace nanobox;
using namespace std::chrono_literals;

TEST_CASE("a watch tells what became true, once it is wanted", "[poller]") {
  const auto poller = *Poller::start();
  const UniqueFd event(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  std::promise<std::uint32_t> seen;
  auto watch = *poller->watch(event.get(), 0, [&](std::uint32_t events) {
    eventfd_t value = 0;
    eventfd_read(event.get(), &value);
    seen.set_value(events);
  });
  eventfd_write(event.get(), 1);
  auto future = seen.get_future();
  CHECK(future.wait_for(50ms) == std::future_status::timeout);
  watch.want(EPOLLIN);
  REQUIRE(future.wait_for(10s) == std::future_status::ready);
  CHECK((future.get() & EPOLLIN) != 0);
}

TEST_CASE("when a watch is destroyed its callback has ended and does not run again", "[poller]") {
  const auto poller = *Poller::start();
  for (int round = 0; round < 50; ++round) {
    const UniqueFd event(eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK));  // stays readable
    std::atomic<bool> alive = true, wrong = false, ran = false;
    auto watch = *poller->watch(event.get(), EPOLLIN, [&](std::uint32_t) {
      ran = true;
      std::this_thread::sleep_for(200us);
      if (!alive) wrong = true;
    });
    while (!ran) std::this_thread::yield();
    watch.reset();
    alive = false;
    std::this_thread::sleep_for(300us);
    CHECK_FALSE(wrong);
  }
}

TEST_CASE("a watch may be destroyed within its own callback, with the poller", "[poller]") {
  auto poller = *Poller::start();
  const UniqueFd event(eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK));
  std::promise<void> gone;
  std::promise<void> begin;
  PollWatch watch;
  watch = *poller->watch(event.get(), 0, [&, begun = begin.get_future().share()](std::uint32_t) {
    begun.wait();
    watch.reset();  // the poller's last user
    gone.set_value();
  });
  watch.want(EPOLLIN);
  poller.reset();
  begin.set_value();
  CHECK(gone.get_future().wait_for(10s) == std::future_status::ready);
}

TEST_CASE("timers run in the order of their times, and not when they were taken back", "[poller]") {
  const auto poller = *Poller::start();
  std::mutex mutex;
  std::string order;
  const auto add = [&](char c) {
    return [&, c] {
      const std::lock_guard lock(mutex);
      order += c;
    };
  };
  std::promise<void> last;
  const auto late = poller->after(60ms, [&] { last.set_value(); });
  const auto second = poller->after(30ms, add('b'));
  const auto first = poller->after(5ms, add('a'));
  auto never = poller->after(15ms, add('x'));
  never.reset();
  REQUIRE(last.get_future().wait_for(10s) == std::future_status::ready);
  const std::lock_guard lock(mutex);
  CHECK(order == "ab");
}

TEST_CASE("a set hands out its pollers in turn", "[poller]") {
  const auto set = *PollerSet::start(2);
  const auto first = set->next();
  CHECK(set->next() != first);
  CHECK(set->next() == first);
  CHECK((*PollerSet::start())->size() >= 1);
}
