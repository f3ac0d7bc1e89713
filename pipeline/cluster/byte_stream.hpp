#pragma once

#include <cstddef>
#include <span>

#include "config/error.hpp"

namespace nanobox {

/// A connection that carries bytes both ways, in order. Blocking: for threads of their own. One thread may read while
/// another writes.
class ByteStream {
public:
  ByteStream() = default;
  ByteStream(const ByteStream&) = delete;
  ByteStream& operator=(const ByteStream&) = delete;
  virtual ~ByteStream() = default;

  /// Waits for bytes, at most so long as the stream's own limit says. @returns how many are in `into`; 0: the peer has
  /// ended its side in order. @errors deadline_exceeded · connection_lost
  virtual Result<std::size_t> read(std::span<std::byte> into) = 0;
  /// Writes all of it. @errors deadline_exceeded: nothing went for so long · connection_lost
  virtual Result<void> write(std::span<const std::byte> bytes) = 0;
  /// Wakes whoever reads or writes with `connection_lost`. Any thread may call it.
  virtual void cut() = 0;
};

}  // namespace nanobox
