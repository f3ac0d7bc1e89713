#include "tools/nanobox/event_loop.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include <map>

namespace nanobox::cli {

namespace asio = boost::asio;
using asio::posix::stream_descriptor;

struct EventLoop::State {
  asio::io_context context{1};
  std::map<int, stream_descriptor> descriptors;

  /// The registered descriptor; null where the kernel cannot wait for it.
  stream_descriptor* of(int fd) {
    if (const auto known = descriptors.find(fd); known != descriptors.end()) return &known->second;
    stream_descriptor fresh(context);
    boost::system::error_code refused;
    fresh.assign(fd, refused);
    return refused ? nullptr : &descriptors.emplace(fd, std::move(fresh)).first->second;
  }

  void wait(int fd, stream_descriptor::wait_type what, Task task) {
    auto* descriptor = of(fd);
    if (descriptor == nullptr) return asio::post(context, std::move(task));
    descriptor->async_wait(what, [task = std::move(task)](const boost::system::error_code& gone) {
      if (!gone) task();
    });
  }

  ~State() {
    for (auto& [fd, descriptor] : descriptors) descriptor.release();
  }
};

EventLoop::EventLoop() : state_(std::make_unique<State>()) {}
EventLoop::~EventLoop() = default;

void EventLoop::when_readable(int fd, Task task) {
  state_->wait(fd, stream_descriptor::wait_read, std::move(task));
}

void EventLoop::when_writable(int fd, Task task) {
  state_->wait(fd, stream_descriptor::wait_write, std::move(task));
}

void EventLoop::forget(int fd) {
  const auto known = state_->descriptors.find(fd);
  if (known == state_->descriptors.end()) return;
  known->second.release();
  state_->descriptors.erase(known);
}

void EventLoop::after(std::chrono::milliseconds time, Task task) {
  auto timer = std::make_shared<asio::steady_timer>(state_->context, time);
  timer->async_wait([timer, task = std::move(task)](const boost::system::error_code& gone) {
    if (!gone) task();
  });
}

void EventLoop::post(Task task) {
  asio::post(state_->context, std::move(task));
}

void EventLoop::run() {
  state_->context.run();
}

void EventLoop::stop() {
  state_->context.stop();
}

asio::io_context& EventLoop::context() {
  return state_->context;
}

}  // namespace nanobox::cli
