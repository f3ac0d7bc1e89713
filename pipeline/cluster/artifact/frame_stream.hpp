#pragma once

#include <optional>
#include <vector>

#include "pipeline/cluster/artifact/frame.hpp"
#include "pipeline/cluster/byte_stream.hpp"

namespace nanobox {

/// All of `into`. @errors connection_lost: also when the peer ends before · deadline_exceeded
Result<void> read_exactly(ByteStream& stream, std::span<std::byte> into);

/// Nothing: the peer has ended between two frames. @errors version_incompatible · peer_untrusted · connection_lost ·
/// deadline_exceeded
Result<std::optional<FrameHeader>> read_frame_header(ByteStream& stream);

/// What follows a header. @errors connection_lost · deadline_exceeded
Result<std::vector<std::byte>> read_content(ByteStream& stream, FrameHeader header);

/// @errors connection_lost · deadline_exceeded
Result<void> write_frame(ByteStream& stream, FrameType type, std::span<const std::byte> content);

}  // namespace nanobox
