#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "config/error.hpp"

namespace nanobox {

/// One entry of a tag-length-value list; `value` points into the payload it was read from.
struct Tlv {
  std::uint16_t tag = 0;  ///< enum nanobox_tag, or a tag this version does not know
  std::span<const std::byte> value;

  /// 0 where the value has another size than the number's.
  std::uint32_t number() const;
  std::uint64_t long_number() const;
  /// At most 4096 bytes of it, whatever they are.
  std::string text() const;
};

/// @errors guest_protocol: an entry is cut off
Result<std::vector<Tlv>> read_tlvs(std::span<const std::byte> payload);

/// Writes tag-length-value lists.
class TlvWriter {
public:
  void put(std::uint16_t tag, std::span<const std::byte> value);
  void put(std::uint16_t tag, std::string_view text);
  void put32(std::uint16_t tag, std::uint32_t value);
  void put64(std::uint16_t tag, std::uint64_t value);
  const std::vector<std::byte>& bytes() const { return bytes_; }

private:
  std::vector<std::byte> bytes_;
};

}  // namespace nanobox
