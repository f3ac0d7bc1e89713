#include "pipeline/cluster/artifact/chunk_writer.hpp"

#include "pipeline/cluster/artifact/limits.hpp"

namespace nanobox {

ChunkWriter::ChunkWriter(PartialArtifact& partial, std::size_t buffers)
    : partial_(partial), stored_bytes_(partial.verified_bytes()) {
  for (std::size_t i = 0; i < buffers; ++i) {
    buffers_.push_back(std::make_unique_for_overwrite<std::byte[]>(kArtifactChunkBytes));
    free_.push_back(buffers_.back().get());
  }
  thread_ = std::thread([this] { run(); });
}

ChunkWriter::~ChunkWriter() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  given_.notify_one();
  thread_.join();
}

Result<std::byte*> ChunkWriter::acquire() {
  std::unique_lock lock(mutex_);
  taken_.wait(lock, [this] { return error_ || !free_.empty(); });
  if (error_) return fail(*error_);
  auto* const buffer = free_.back();
  free_.pop_back();
  return buffer;
}

void ChunkWriter::store(std::size_t chunk, std::byte* buffer, std::size_t bytes) {
  {
    const std::lock_guard lock(mutex_);
    jobs_.push_back({chunk, buffer, bytes});
  }
  given_.notify_one();
}

Result<void> ChunkWriter::finish() {
  std::unique_lock lock(mutex_);
  taken_.wait(lock, [this] { return error_ || free_.size() == buffers_.size(); });
  if (error_) return fail(*error_);
  return {};
}

void ChunkWriter::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    given_.wait(lock, [this] { return ending_ || !jobs_.empty(); });
    if (jobs_.empty()) return;
    const auto job = jobs_.front();
    jobs_.pop_front();
    if (!error_) {
      lock.unlock();
      auto stored = partial_.store(job.chunk, {job.buffer, job.bytes});
      if (stored) stored_bytes_.fetch_add(job.bytes, std::memory_order_relaxed);
      lock.lock();
      if (!stored) error_ = std::move(stored).error();
    }
    free_.push_back(job.buffer);
    taken_.notify_one();
  }
}

}  // namespace nanobox
