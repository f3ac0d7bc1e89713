#include "pipeline/warmup/rootfs/buffer_ring.hpp"

#include <utility>

namespace nanobox {

std::unique_ptr<BufferRing::Buffer> BufferRing::acquire(std::stop_token stop) {
  std::unique_lock lock(mutex_);
  const bool woken = changed_.wait(lock, stop, [&] { return !free_.empty() || made_ < kBuffers; });
  if (!woken) return nullptr;
  if (free_.empty()) {
    ++made_;
    return std::make_unique<Buffer>();
  }
  auto buffer = std::move(free_.back());
  free_.pop_back();
  buffer->size = 0;
  return buffer;
}

void BufferRing::publish(std::unique_ptr<Buffer> buffer) {
  if (buffer->size == 0) return release(buffer.release());
  const Filled filled(buffer.release(), [this](const Buffer* done) { release(const_cast<Buffer*>(done)); });
  {
    const std::lock_guard lock(mutex_);
    for (auto& queue : waiting_) queue.push_back(filled);
  }
  changed_.notify_all();
}

void BufferRing::finish() {
  {
    const std::lock_guard lock(mutex_);
    finished_ = true;
  }
  changed_.notify_all();
}

void BufferRing::fail_with(Error error) {
  {
    const std::lock_guard lock(mutex_);
    if (!error_) error_ = std::move(error);
    finished_ = true;
  }
  changed_.notify_all();
}

Result<BufferRing::Filled> BufferRing::next(std::size_t consumer, std::stop_token stop) {
  std::unique_lock lock(mutex_);
  auto& queue = waiting_.at(consumer);
  const bool woken = changed_.wait(lock, stop, [&] { return finished_ || !queue.empty(); });
  if (!woken)
    return fail({.code = ErrorCode::cancelled,
                 .attempted = "read a layer",
                 .subject = "",
                 .reason = "it was cancelled",
                 .mend = ""});
  if (queue.empty()) {
    if (error_) return fail(*error_);
    return Filled{};
  }
  auto filled = std::move(queue.front());
  queue.pop_front();
  return filled;
}

void BufferRing::release(Buffer* buffer) {
  {
    const std::lock_guard lock(mutex_);
    free_.emplace_back(buffer);
  }
  changed_.notify_all();
}

}  // namespace nanobox
