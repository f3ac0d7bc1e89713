#include "pipeline/boot/channel/tlv.hpp"

#include <algorithm>

#include "guest/protocol.h"
#include "pipeline/boot/channel/frame.hpp"

namespace nanobox {

namespace {

constexpr std::size_t kTextMax = 4096;
constexpr std::size_t kHead = 6;

const std::uint8_t* octets(std::span<const std::byte> bytes) {
  return reinterpret_cast<const std::uint8_t*>(bytes.data());
}

}  // namespace

std::uint32_t Tlv::number() const {
  return value.size() == 4 ? nanobox_get32(octets(value)) : 0;
}
std::uint64_t Tlv::long_number() const {
  return value.size() == 8 ? nanobox_get64(octets(value)) : 0;
}
std::string Tlv::text() const {
  return {reinterpret_cast<const char*>(value.data()), std::min(value.size(), kTextMax)};
}

Result<std::vector<Tlv>> read_tlvs(std::span<const std::byte> payload) {
  std::vector<Tlv> entries;
  while (!payload.empty()) {
    if (payload.size() < kHead) return fail(channel_broken("it sent a cut-off list"));
    const std::size_t length = nanobox_get32(octets(payload) + 2);
    if (length > payload.size() - kHead)
      return fail(channel_broken("it sent a list with an entry longer than the frame"));
    entries.push_back({nanobox_get16(octets(payload)), payload.subspan(kHead, length)});
    payload = payload.subspan(kHead + length);
  }
  return entries;
}

void TlvWriter::put(std::uint16_t tag, std::span<const std::byte> value) {
  std::uint8_t head[kHead];
  nanobox_put16(head, tag);
  nanobox_put32(head + 2, static_cast<std::uint32_t>(value.size()));
  const auto bytes = std::as_bytes(std::span(head));
  bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
  bytes_.insert(bytes_.end(), value.begin(), value.end());
}

void TlvWriter::put(std::uint16_t tag, std::string_view text) {
  put(tag, std::as_bytes(std::span(text)));
}

void TlvWriter::put32(std::uint16_t tag, std::uint32_t value) {
  std::uint8_t bytes[4];
  nanobox_put32(bytes, value);
  put(tag, std::as_bytes(std::span(bytes)));
}

void TlvWriter::put64(std::uint16_t tag, std::uint64_t value) {
  std::uint8_t bytes[8];
  nanobox_put64(bytes, value);
  put(tag, std::as_bytes(std::span(bytes)));
}

}  // namespace nanobox
