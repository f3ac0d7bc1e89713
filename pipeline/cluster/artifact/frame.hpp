#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "config/error.hpp"
#include "pipeline/cluster/artifact/limits.hpp"

namespace nanobox {

/// Of the protocol by which artifacts move; in every frame.
inline constexpr std::uint8_t kArtifactProtocolVersion = 1;
/// version u8, type u8, zero u16, length of what follows u32; little-endian.
inline constexpr std::size_t kFrameHeaderBytes = 8;

enum class FrameType : std::uint8_t {
  get = 1,         ///< client: ticket, artifact
  chunks = 2,      ///< client: send these
  refused = 16,    ///< server: instead of what was asked for
  preparing = 17,  ///< server: the manifest is being made
  manifest = 18,   ///< server: a part of it
  data = 19,       ///< server: a chunk's data
};

struct FrameHeader {
  FrameType type;
  std::uint32_t length;
};

/// The longest content of a frame of that type.
std::size_t longest_content(FrameType type);

std::array<std::byte, kFrameHeaderBytes> encode_frame_header(FrameHeader header);
/// @errors version_incompatible · peer_untrusted: unknown type, too long
Result<FrameHeader> decode_frame_header(std::span<const std::byte, kFrameHeaderBytes> bytes);

}  // namespace nanobox
