#include "pipeline/boot/channel/frame.hpp"

#include <algorithm>

#include "guest/protocol.h"

namespace nanobox {

namespace {

// A former session leaves at most the guest's queue and the port's buffers behind.
constexpr std::uint64_t kSkippedMax = std::uint64_t{16} << 20;

// Only headers that a HELLO_ACK can have are worth a checksum: a guest cannot make the search expensive.
bool can_be_acknowledgement(const std::uint8_t* header) {
  return header[0] == NANOBOX_HELLO_ACK && header[1] == 0 && nanobox_get16(header + 2) == 0 &&
         nanobox_get32(header + 4) == 0 && nanobox_get32(header + 8) <= NANOBOX_HELLO_MAX;
}

}  // namespace

Error channel_broken(std::string reason) {
  return {.code = ErrorCode::guest_protocol,
          .attempted = "talk to the guest",
          .subject = "",
          .reason = std::move(reason),
          .mend = "the sandbox is lost: make another"};
}

void append_frame(std::vector<std::byte>& bytes, const Frame& frame) {
  std::uint8_t header[NANOBOX_FRAME_HEADER];
  nanobox_put_header(header, frame.type, frame.flags, frame.part, frame.stream, frame.payload.data(),
                     static_cast<std::uint32_t>(frame.payload.size()));
  const auto head = std::as_bytes(std::span(header));
  bytes.insert(bytes.end(), head.begin(), head.end());
  bytes.insert(bytes.end(), frame.payload.begin(), frame.payload.end());
}

void FrameDecoder::feed(std::span<const std::byte> bytes) {
  bytes_.erase(bytes_.begin(), bytes_.begin() + static_cast<std::ptrdiff_t>(at_));
  at_ = 0;
  bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
}

Result<std::optional<Frame>> FrameDecoder::next() {
  while (at_ < bytes_.size()) {
    if (searching_ && skipped_ > kSkippedMax) return fail(channel_broken("it sends, but never answered HELLO"));
    const auto* header = reinterpret_cast<const std::uint8_t*>(bytes_.data() + at_);
    const std::size_t left = bytes_.size() - at_;
    if (header[0] == 0 || (searching_ && header[0] != NANOBOX_HELLO_ACK)) {
      ++at_;
      ++skipped_;
      continue;
    }
    if (left < NANOBOX_FRAME_HEADER) break;
    const std::uint32_t length = nanobox_get32(header + 8);
    const bool possible = searching_ ? can_be_acknowledgement(header) : length <= NANOBOX_FRAME_PAYLOAD_MAX;
    if (possible && left < NANOBOX_FRAME_HEADER + length) break;
    if (!possible || nanobox_frame_is_intact(header, length) == 0) {
      if (!searching_)
        return fail(channel_broken(possible ? "it sent a frame with a wrong checksum"
                                            : "it sent a frame of " + std::to_string(length) + " bytes"));
      ++at_;
      ++skipped_;
      continue;
    }
    const std::size_t payload = at_ + NANOBOX_FRAME_HEADER;
    at_ = payload + length;
    return Frame{.type = header[0],
                 .flags = header[1],
                 .part = nanobox_get16(header + 2),
                 .stream = nanobox_get32(header + 4),
                 .payload = std::span(bytes_).subspan(payload, length)};
  }
  return std::nullopt;
}

}  // namespace nanobox
