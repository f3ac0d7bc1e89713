#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace nanobox {

/// The last bytes of a console: what is older than `capacity` is forgotten. Takes memory only as it fills.
class ConsoleRing {
public:
  explicit ConsoleRing(std::size_t capacity = std::size_t{1} << 20) : capacity_(capacity) {}

  void append(std::span<const std::byte> bytes);
  /// The last bytes, at most `max`, oldest first.
  std::string tail(std::size_t max) const;
  /// At most `max` bytes from `offset` on, which counts from the console's first byte; from the oldest kept one where
  /// that is older. @returns the bytes, and the offset behind them
  std::pair<std::string, std::uint64_t> since(std::uint64_t offset, std::size_t max) const;
  std::size_t size() const { return bytes_.size(); }

private:
  std::size_t capacity_;
  std::vector<char> bytes_;
  std::size_t oldest_ = 0;  // only when full: where the next byte goes
  std::uint64_t total_ = 0;
};

/// Finds a text in a stream that arrives in pieces.
class StreamMark {
public:
  explicit StreamMark(std::string_view text) : text_(text) {}
  /// True from the piece on that completes the text.
  bool seen(std::span<const std::byte> piece);

private:
  std::string text_;
  std::string kept_;
  bool seen_ = false;
};

}  // namespace nanobox
