#include "pipeline/warmup/blob_arrival.hpp"

namespace nanobox {

BlobArrival::BlobArrival(std::string digest, std::uint64_t size_bytes, UniqueFd file)
    : digest_(std::move(digest)), size_bytes_(size_bytes), file_(std::move(file)) {}

void BlobArrival::advance(std::uint64_t bytes) {
  {
    const std::lock_guard lock(mutex_);
    if (error_ || bytes <= available_) return;
    available_ = bytes;
  }
  changed_.notify_all();
}

void BlobArrival::complete() {
  {
    const std::lock_guard lock(mutex_);
    if (error_) return;
    available_ = size_bytes_;
    complete_ = true;
  }
  changed_.notify_all();
}

void BlobArrival::fail_with(Error error) {
  {
    const std::lock_guard lock(mutex_);
    if (error_ || complete_) return;
    error_ = std::move(error);
  }
  changed_.notify_all();
}

std::uint64_t BlobArrival::available() const {
  const std::lock_guard lock(mutex_);
  return available_;
}

Result<std::uint64_t> BlobArrival::wait_beyond(std::uint64_t offset, std::stop_token stop) const {
  std::unique_lock lock(mutex_);
  const bool woken =
      changed_.wait(lock, stop, [&] { return error_ || available_ > offset || available_ >= size_bytes_; });
  if (!woken) return fail(cancelled());
  if (error_) return fail(*error_);
  return available_;
}

Result<void> BlobArrival::wait_complete(std::stop_token stop) const {
  std::unique_lock lock(mutex_);
  if (!changed_.wait(lock, stop, [&] { return error_ || complete_; })) return fail(cancelled());
  if (error_) return fail(*error_);
  return {};
}

Error BlobArrival::cancelled() const {
  return {.code = ErrorCode::cancelled,
          .attempted = "wait for blob",
          .subject = digest_,
          .reason = "it was cancelled",
          .mend = ""};
}

}  // namespace nanobox
