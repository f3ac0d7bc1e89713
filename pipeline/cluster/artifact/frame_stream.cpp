#include "pipeline/cluster/artifact/frame_stream.hpp"

#include <algorithm>

namespace nanobox {

namespace {

tl::unexpected<Error> ended() {
  return fail({.code = ErrorCode::connection_lost,
               .attempted = "read of an artifact",
               .subject = "",
               .reason = "the peer ended in the middle",
               .mend = "",
               .transient = true});
}

}  // namespace

Result<void> read_exactly(ByteStream& stream, std::span<std::byte> into) {
  while (!into.empty()) {
    const auto count = NANOBOX_TRY(stream.read(into));
    if (count == 0) return ended();
    into = into.subspan(count);
  }
  return {};
}

Result<std::optional<FrameHeader>> read_frame_header(ByteStream& stream) {
  std::array<std::byte, kFrameHeaderBytes> bytes;
  const auto count = NANOBOX_TRY(stream.read(bytes));
  if (count == 0) return std::nullopt;
  NANOBOX_TRY(read_exactly(stream, std::span(bytes).subspan(count)));
  return NANOBOX_TRY(decode_frame_header(bytes));
}

Result<std::vector<std::byte>> read_content(ByteStream& stream, FrameHeader header) {
  std::vector<std::byte> content(header.length);
  NANOBOX_TRY(read_exactly(stream, content));
  return content;
}

Result<void> write_frame(ByteStream& stream, FrameType type, std::span<const std::byte> content) {
  const auto header = encode_frame_header({.type = type, .length = static_cast<std::uint32_t>(content.size())});
  std::vector<std::byte> bytes(header.begin(), header.end());
  bytes.insert(bytes.end(), content.begin(), content.end());
  return stream.write(bytes);
}

}  // namespace nanobox
