#include "pipeline/cluster/artifact/serve_artifacts.hpp"

#include <algorithm>
#include <array>
#include <memory>
#include <optional>

#include "pipeline/cluster/artifact/byte_codec.hpp"
#include "pipeline/cluster/artifact/chunk_table.hpp"
#include "pipeline/cluster/artifact/frame_stream.hpp"
#include "pipeline/cluster/artifact/message.hpp"

namespace nanobox {

namespace {

constexpr std::size_t kPrefixBytes = kFrameHeaderBytes + kDataPrefixBytes;

/// One connection's server side.
class ArtifactSession {
public:
  ArtifactSession(ByteStream& stream, const ArtifactCatalogue& catalogue)
      : stream_(stream),
        catalogue_(catalogue),
        buffer_(std::make_unique_for_overwrite<std::byte[]>(kPrefixBytes + kArtifactChunkBytes)) {}

  Result<void> run() {
    while (const auto header = NANOBOX_TRY(read_frame_header(stream_))) {
      if (header->type != FrameType::get && header->type != FrameType::chunks) return out_of_turn();
      const auto content = NANOBOX_TRY(read_content(stream_, *header));
      if (header->type == FrameType::get)
        NANOBOX_TRY(get(NANOBOX_TRY(decode_get(content))));
      else
        NANOBOX_TRY(send_chunks(NANOBOX_TRY(decode_chunks(content, chunks_.size()))));
    }
    return {};
  }

private:
  static tl::unexpected<Error> out_of_turn() {
    return fail({.code = ErrorCode::peer_untrusted,
                 .attempted = "serve artifacts",
                 .subject = "",
                 .reason = "the client sent what only servers send",
                 .mend = ""});
  }

  Result<void> get(const GetMessage& message) {
    chunks_.clear();
    artifact_.reset();
    Result<void> told;
    auto opened = catalogue_.open(message.ticket, message.name, [&](std::uint64_t done, std::uint64_t total) {
      if (told) told = write_frame(stream_, FrameType::preparing, encode(PreparingMessage{done, total}));
    });
    NANOBOX_TRY(std::move(told));
    if (!opened) return write_frame(stream_, FrameType::refused, encode(opened.error()));
    artifact_ = std::move(*opened);
    chunks_ = chunk_table(artifact_->manifest);
    return send_manifest();
  }

  Result<void> send_manifest() {
    const auto bytes = encode_manifest(artifact_->manifest);
    if (bytes.size() > kMostManifestBytes)
      return fail({.code = ErrorCode::io_failed,
                   .attempted = "send artifact",
                   .subject = artifact_->manifest.name,
                   .reason = "its manifest is too long",
                   .mend = ""});
    constexpr std::size_t kPart = 1U << 20;
    for (std::size_t at = 0; at < bytes.size(); at += kPart) {
      ByteWriter writer;
      writer.number(static_cast<std::uint32_t>(bytes.size()));
      writer.raw(std::span(bytes).subspan(at, std::min(kPart, bytes.size() - at)));
      NANOBOX_TRY(write_frame(stream_, FrameType::manifest, writer.take()));
    }
    return {};
  }

  Result<void> send_chunks(const ChunksMessage& message) {
    for (auto index = message.first; index < message.first + message.count; ++index) {
      const auto& chunk = chunks_[index];
      const auto length = static_cast<std::uint32_t>(kDataPrefixBytes + chunk.bytes);
      ByteWriter prefix;
      prefix.raw(encode_frame_header({.type = FrameType::data, .length = length}));
      prefix.number(index);
      std::ranges::copy(prefix.take(), buffer_.get());
      NANOBOX_TRY(read_chunk(artifact_->files[chunk.file].get(), artifact_->manifest.files[chunk.file], chunk,
                             buffer_.get() + kPrefixBytes));
      NANOBOX_TRY(stream_.write({buffer_.get(), kPrefixBytes + chunk.bytes}));
    }
    return {};
  }

  ByteStream& stream_;
  const ArtifactCatalogue& catalogue_;
  const std::unique_ptr<std::byte[]> buffer_;  // a frame `data`
  std::optional<OpenArtifact> artifact_;
  std::vector<ArtifactChunk> chunks_;
};

/// A connection closed with bytes unread may be reset, and what was last written to it lost. Not for ever: the client
/// may be a hostile one.
void read_rest(ByteStream& stream) {
  std::array<std::byte, 4096> bytes;
  for (std::size_t most = 64U << 10; most > 0;) {
    const auto count = stream.read(bytes);
    if (!count || *count == 0) return;
    most -= std::min(most, *count);
  }
}

}  // namespace

Result<void> serve_artifacts(ByteStream& stream, const ArtifactCatalogue& catalogue) {
  auto ended = ArtifactSession(stream, catalogue).run();
  const bool heard =
      ended || ended.error().code == ErrorCode::connection_lost || ended.error().code == ErrorCode::deadline_exceeded;
  if (!heard && write_frame(stream, FrameType::refused, encode(ended.error()))) read_rest(stream);
  return ended;
}

}  // namespace nanobox
