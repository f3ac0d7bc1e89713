#pragma once

#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>

#include "config/error.hpp"
#include "config/unique_fd.hpp"

namespace nanobox {

/// One blob on its way into the cache: one writer (the puller) appends to a file, any number of readers follow it
/// while it grows. Bytes are in the file; only their count passes through here. Thread-safe.
///
/// Readers see bytes before the digest is verified: whatever they make of them must not be published before
/// `wait_complete` succeeded.
class BlobArrival {
public:
  /// @param file  open for reading; stays valid after the file is renamed or removed
  BlobArrival(std::string digest, std::uint64_t size_bytes, UniqueFd file);

  const std::string& digest() const { return digest_; }
  std::uint64_t size_bytes() const { return size_bytes_; }
  int file() const { return file_.get(); }

  /// Writer: the first `bytes` bytes of the file are valid (never shrinks).
  void advance(std::uint64_t bytes);
  /// Writer: all bytes are there, and their digest is right.
  void complete();
  /// Writer: it will never be complete. A later `advance` or `complete` is ignored.
  void fail_with(Error error);

  /// Bytes in the file now.
  std::uint64_t available() const;
  /// Blocks until more than `offset` bytes are there, or all are (then the count may equal `offset`).
  /// @errors the writer's error; `cancelled` when `stop` is requested
  Result<std::uint64_t> wait_beyond(std::uint64_t offset, std::stop_token stop) const;
  /// Blocks until the blob is verified. @errors as `wait_beyond`
  Result<void> wait_complete(std::stop_token stop) const;

private:
  Error cancelled() const;

  const std::string digest_;
  const std::uint64_t size_bytes_;
  const UniqueFd file_;
  mutable std::mutex mutex_;
  mutable std::condition_variable_any changed_;
  std::uint64_t available_ = 0;
  bool complete_ = false;
  std::optional<Error> error_;
};

}  // namespace nanobox
