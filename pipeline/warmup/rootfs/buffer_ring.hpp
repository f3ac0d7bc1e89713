#pragma once

#include <array>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <stop_token>
#include <vector>

#include "config/error.hpp"

namespace nanobox {

/// One producer's bytes for two consumers, which each see all of them in order: a ring of `kBuffers` buffers of
/// `kBufferBytes`, handed on without copying. A buffer is free again when both have let go of it. Thread-safe.
class BufferRing {
public:
  static constexpr std::size_t kBufferBytes = 512U << 10;
  static constexpr std::size_t kBuffers = 8;
  static constexpr std::size_t kConsumers = 2;

  struct Buffer {
    std::unique_ptr<std::byte[]> bytes{new std::byte[kBufferBytes]};
    std::size_t size = 0;
  };
  using Filled = std::shared_ptr<const Buffer>;

  /// Producer: waits for a free buffer. Null when `stop` is requested.
  std::unique_ptr<Buffer> acquire(std::stop_token stop);
  /// Producer: passes `buffer` on; an empty one only becomes free again.
  void publish(std::unique_ptr<Buffer> buffer);
  /// Producer: no more comes; with an error, consumers get that after the last buffer.
  void finish();
  void fail_with(Error error);

  /// Consumer 0 or 1: the next buffer, waiting for it; null at the end.
  Result<Filled> next(std::size_t consumer, std::stop_token stop);

private:
  void release(Buffer* buffer);

  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::vector<std::unique_ptr<Buffer>> free_;
  std::size_t made_ = 0;
  std::array<std::deque<Filled>, kConsumers> waiting_;
  bool finished_ = false;
  std::optional<Error> error_;
};

}  // namespace nanobox
