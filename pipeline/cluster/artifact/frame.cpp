#include "pipeline/cluster/artifact/frame.hpp"

#include "pipeline/cluster/artifact/byte_codec.hpp"

namespace nanobox {

std::size_t longest_content(FrameType type) {
  switch (type) {
    case FrameType::get:
      return 2 + kMostTicketBytes + 2 + kMostArtifactNameBytes;
    case FrameType::chunks:
      return 8 + 4;
    case FrameType::refused:
      return 16U << 10;
    case FrameType::preparing:
      return 8 + 8;
    case FrameType::manifest:
      return 4 + (1U << 20);
    case FrameType::data:
      return 8 + kArtifactChunkBytes;
  }
  return 0;
}

std::array<std::byte, kFrameHeaderBytes> encode_frame_header(FrameHeader header) {
  const auto byte = [](std::uint32_t value) { return static_cast<std::byte>(value & 0xFF); };
  return {byte(kArtifactProtocolVersion),
          byte(static_cast<std::uint8_t>(header.type)),
          std::byte{0},
          std::byte{0},
          byte(header.length),
          byte(header.length >> 8),
          byte(header.length >> 16),
          byte(header.length >> 24)};
}

Result<FrameHeader> decode_frame_header(std::span<const std::byte, kFrameHeaderBytes> bytes) {
  ByteReader reader(bytes);
  const auto version = reader.number<std::uint8_t>();
  const auto type = reader.number<std::uint8_t>();
  const auto zero = reader.number<std::uint16_t>();
  const FrameHeader header{.type = static_cast<FrameType>(type), .length = reader.number<std::uint32_t>()};
  if (version != kArtifactProtocolVersion)
    return fail({.code = ErrorCode::version_incompatible,
                 .attempted = "read a frame of an artifact",
                 .subject = "",
                 .reason = "the peer speaks version " + std::to_string(version) + ", this node " +
                           std::to_string(kArtifactProtocolVersion),
                 .mend = "bring both nodes to the same NanoBox"});
  const auto most = longest_content(header.type);
  if (most == 0 || zero != 0 || header.length > most)
    return fail({.code = ErrorCode::peer_untrusted,
                 .attempted = "read a frame of an artifact",
                 .subject = "type " + std::to_string(type),
                 .reason = most == 0 ? "there is no such type" : "its length is " + std::to_string(header.length),
                 .mend = ""});
  return header;
}

}  // namespace nanobox
