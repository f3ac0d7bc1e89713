#include "http/transport/input_pipe.hpp"
#include "config/log.hpp"

#include <algorithm>
#include <exception>
#include <utility>

namespace nanobox::http::transport {

void InputPipe::start(OnData on_data, OnEnd on_end) {
  {
    const std::lock_guard lock(mutex_);
    if (started_ || abandoned_) return;
    started_ = true;
    callbacks_ = std::make_shared<const Callbacks>(Callbacks{std::move(on_data), std::move(on_end)});
    if (!orphaned_) return;
  }
  deliver();
}

bool InputPipe::consumed(std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  held_ -= std::min(bytes, held_);
  return held_ <= BodyReader::credit / 2 && std::exchange(paused_, false);
}

void InputPipe::abandon() {
  std::shared_ptr<const Callbacks> unused;
  const std::lock_guard lock(mutex_);
  abandoned_ = true;
  unused = std::move(callbacks_);
  waiting_.clear();
  held_ = 0;
}

void InputPipe::push(std::string bytes) {
  const std::lock_guard lock(mutex_);
  if (abandoned_ || end_ || bytes.empty()) return;
  held_ += bytes.size();
  waiting_.push_back(std::move(bytes));
}

void InputPipe::end(Result<void> how) {
  const std::lock_guard lock(mutex_);
  if (!end_) end_ = std::move(how);
}

void InputPipe::deliver() {
  std::unique_lock lock(mutex_);
  if (std::exchange(delivering_, true)) return;
  while (callbacks_) {
    auto callbacks = callbacks_;
    std::optional<Result<void>> end;
    std::string piece;
    if (!waiting_.empty()) {
      piece = std::move(waiting_.front());
      waiting_.pop_front();
    } else if (end_) {
      end = *end_;
      callbacks_.reset();
    } else {
      break;
    }
    lock.unlock();
    try {
      if (!end)
        callbacks->on_data(std::move(piece));
      else if (callbacks->on_end)
        callbacks->on_end(std::move(*end));
    } catch (const std::exception& wrong) {
      log_error(LogComponent::http, {}, "a reader of a client's bytes failed: {}", wrong.what());
      abandon();
    }
    callbacks.reset();
    lock.lock();
  }
  delivering_ = false;
}

bool InputPipe::wants_input() {
  const std::lock_guard lock(mutex_);
  if (held_ >= BodyReader::credit) paused_ = true;
  return !paused_;
}

bool InputPipe::abandoned() const {
  const std::lock_guard lock(mutex_);
  return abandoned_;
}

void InputPipe::orphan() {
  const std::lock_guard lock(mutex_);
  orphaned_ = true;
}

}  // namespace nanobox::http::transport
