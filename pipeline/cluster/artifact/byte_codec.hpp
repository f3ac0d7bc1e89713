#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace nanobox {

/// Appends whole numbers, little-endian, and counted texts.
class ByteWriter {
public:
  template <std::unsigned_integral T>
  void number(T value) {
    for (std::size_t i = 0; i < sizeof value; ++i) bytes_.push_back(static_cast<std::byte>(value >> (8 * i)));
  }
  void raw(std::span<const std::byte> bytes) { bytes_.insert(bytes_.end(), bytes.begin(), bytes.end()); }
  /// At most 65535 bytes of it.
  void text(std::string_view text) {
    text = text.substr(0, UINT16_MAX);
    number(static_cast<std::uint16_t>(text.size()));
    raw(std::as_bytes(std::span(text)));
  }
  std::vector<std::byte> take() { return std::move(bytes_); }

private:
  std::vector<std::byte> bytes_;
};

/// Reads what ByteWriter wrote. Past the end everything is 0 and empty, and `good()` is false from then on.
class ByteReader {
public:
  explicit ByteReader(std::span<const std::byte> bytes) : bytes_(bytes) {}

  template <std::unsigned_integral T>
  T number() {
    const auto part = raw(sizeof(T));
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < part.size(); ++i) value |= std::to_integer<std::uint64_t>(part[i]) << (8 * i);
    return static_cast<T>(value);
  }
  std::span<const std::byte> raw(std::size_t count) {
    if (count > bytes_.size()) {
      good_ = false;
      bytes_ = {};
      return {};
    }
    const auto part = bytes_.first(count);
    bytes_ = bytes_.subspan(count);
    return part;
  }
  std::string text() {
    const auto part = raw(number<std::uint16_t>());
    return {reinterpret_cast<const char*>(part.data()), part.size()};
  }
  std::size_t left() const { return bytes_.size(); }
  bool good() const { return good_; }
  /// All was there, and nothing more.
  bool at_end() const { return good_ && bytes_.empty(); }

private:
  std::span<const std::byte> bytes_;
  bool good_ = true;
};

}  // namespace nanobox
