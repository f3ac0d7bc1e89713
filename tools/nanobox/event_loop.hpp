#pragma once

#include <chrono>
#include <functional>
#include <memory>

namespace boost::asio {
class io_context;
}

namespace nanobox::cli {

/// Waits for descriptors and times on one thread, and calls back. Tasks run inside `run` only, never inside of a call
/// that asks for them.
class EventLoop {
public:
  using Task = std::function<void()>;
  EventLoop();
  ~EventLoop();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  /// Calls `task` once, when `fd` (borrowed, its flags left alone) can be read from, or has ended. What cannot be
  /// waited for (a file, /dev/null) is always ready.
  void when_readable(int fd, Task task);
  void when_writable(int fd, Task task);
  /// Before `fd` is closed: its tasks never run.
  void forget(int fd);
  void after(std::chrono::milliseconds time, Task task);
  void post(Task task);

  /// Until `stop`, or nothing is left to wait for.
  void run();
  void stop();

  boost::asio::io_context& context();

private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace nanobox::cli
