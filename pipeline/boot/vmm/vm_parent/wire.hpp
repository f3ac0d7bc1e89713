#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace nanobox {

/// Appends numbers (this machine's byte order) and strings with their length. For processes of one build only.
class WireWriter {
public:
  void number(std::uint64_t value) { bytes_.append(reinterpret_cast<const char*>(&value), sizeof value); }
  void text(std::string_view value) {
    number(value.size());
    bytes_.append(value);
  }
  const std::string& bytes() const { return bytes_; }

private:
  std::string bytes_;
};

/// The inverse. Past the end everything reads as 0 or empty and `ok()` stays false.
class WireReader {
public:
  explicit WireReader(std::string_view bytes) : rest_(bytes) {}
  std::uint64_t number() {
    std::uint64_t value = 0;
    const auto raw = take(sizeof value);
    if (raw.size() == sizeof value) std::memcpy(&value, raw.data(), sizeof value);
    return value;
  }
  std::string text() { return std::string{take(number())}; }
  bool ok() const { return ok_; }
  bool at_end() const { return ok_ && rest_.empty(); }

private:
  std::string_view take(std::uint64_t count) {
    if (!ok_ || count > rest_.size()) {
      ok_ = false;
      return {};
    }
    const auto taken = rest_.substr(0, count);
    rest_.remove_prefix(count);
    return taken;
  }

  std::string_view rest_;
  bool ok_ = true;
};

}  // namespace nanobox
