#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "config/error.hpp"

namespace nanobox {

/// One frame of the guest channel (guest/protocol.h). A decoded payload points into its decoder.
struct Frame {
  std::uint8_t type = 0;  ///< enum nanobox_frame_type, or a type this version does not know
  std::uint8_t flags = 0;
  std::uint16_t part = 0;
  std::uint32_t stream = 0;
  std::span<const std::byte> payload;
};

/// Appends the frame's bytes. The payload has at most NANOBOX_FRAME_PAYLOAD_MAX bytes.
void append_frame(std::vector<std::byte>& bytes, const Frame& frame);

/// The error of a guest that breaks the channel's rules: `guest_protocol`.
Error channel_broken(std::string reason);

/// Finds the frames in what a guest sends, in pieces of any size. Until `follow` it searches: whatever is no intact
/// HELLO_ACK is skipped, for the rest of a former session may come first. Keeps what was fed and at most one frame
/// more.
class FrameDecoder {
public:
  void feed(std::span<const std::byte> bytes);
  /// The next whole frame, valid until the next call of either; nothing: more bytes are needed.
  /// @errors guest_protocol: checksum or length are wrong, or too much came without a HELLO_ACK
  Result<std::optional<Frame>> next();
  /// From here on every byte belongs to a frame or is a zero between two.
  void follow() { searching_ = false; }

private:
  std::vector<std::byte> bytes_;
  std::size_t at_ = 0;
  std::uint64_t skipped_ = 0;
  bool searching_ = true;
};

}  // namespace nanobox
