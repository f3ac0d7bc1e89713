#include "pipeline/cluster/artifact/chunk_writer.hpp"

#include "pipeline/cluster/artifact/limits.hpp"

namespace nanobox {

ChunkWriter::ChunkWriter(PartialArtifact& partial, std::size_t threads, std::size_t buffers) : partial_(partial) {
  for (std::size_t i = 0; i < buffers; ++i) {
    buffers_.push_back(std::make_unique_for_overwrite<std::byte[]>(kArtifactChunkBytes));
    free_.push_back(buffers_.back().get());
  }
  for (std::size_t i = 0; i < threads; ++i) threads_.emplace_back([this] { run(); });
}

ChunkWriter::~ChunkWriter() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  given_.notify_all();
  for (auto& thread : threads_) thread.join();
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

std::uint64_t ChunkWriter::stored_bytes() const {
  const std::lock_guard lock(mutex_);
  return partial_.verified_bytes();
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
      auto stored = partial_.write(job.chunk, {job.buffer, job.bytes});
      lock.lock();
      if (stored) stored = partial_.mark(job.chunk);
      if (!stored && !error_) error_ = std::move(stored).error();
    }
    free_.push_back(job.buffer);
    taken_.notify_one();
  }
}

}  // namespace nanobox
