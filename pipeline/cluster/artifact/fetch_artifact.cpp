#include "pipeline/cluster/artifact/fetch_artifact.hpp"

#include <algorithm>
#include <array>
#include <deque>

#include "pipeline/cluster/artifact/byte_codec.hpp"
#include "pipeline/cluster/artifact/chunk_writer.hpp"
#include "pipeline/cluster/artifact/frame_stream.hpp"
#include "pipeline/cluster/artifact/message.hpp"
#include "pipeline/cluster/artifact/partial_artifact.hpp"

namespace nanobox {

namespace {

constexpr std::size_t kThreads = 2, kBuffers = 4;

tl::unexpected<Error> bad_source(const std::string& artifact, std::string reason) {
  return fail({.code = ErrorCode::peer_untrusted,
               .attempted = "fetch artifact",
               .subject = artifact,
               .reason = std::move(reason),
               .mend = "fetch it from another node"});
}

Error ended(const std::string& artifact) {
  return {.code = ErrorCode::connection_lost,
          .attempted = "fetch artifact",
          .subject = artifact,
          .reason = "the node that has it ended the connection",
          .mend = "",
          .transient = true};
}

Error cancelled(const std::string& artifact) {
  return {.code = ErrorCode::cancelled,
          .attempted = "fetch artifact",
          .subject = artifact,
          .reason = "it is not wanted any more",
          .mend = ""};
}

/// Reads the server's refusal. It may not pass for an error of this node.
Error refusal(ByteStream& stream, FrameHeader header, const std::string& artifact) {
  const auto content = read_content(stream, header);
  if (!content) return content.error();
  auto error = decode_refusal(*content);
  if (!error) return error.error();
  constexpr std::array kTaken = {
      ErrorCode::artifact_missing, ErrorCode::token_invalid,    ErrorCode::token_expired,        ErrorCode::forbidden,
      ErrorCode::unauthorized,     ErrorCode::not_ready,        ErrorCode::version_incompatible, ErrorCode::conflict,
      ErrorCode::shutting_down,    ErrorCode::too_many_requests};
  if (std::ranges::find(kTaken, error->code) == kTaken.end()) error->code = ErrorCode::io_failed;
  error->reason = "the node that has it refuses: " + describe(*error);
  error->attempted = "fetch artifact";
  error->subject = artifact;
  return *error;
}

Result<ArtifactManifest> fetch_manifest(ByteStream& stream, const FetchRequest& request) {
  NANOBOX_TRY(write_frame(stream, FrameType::get, encode(GetMessage{request.ticket, request.name})));
  std::vector<std::byte> manifest;
  std::uint64_t prepared = 0;
  for (;;) {
    const auto header = NANOBOX_TRY(read_frame_header(stream));
    if (!header) return fail(ended(request.name));
    if (header->type == FrameType::refused) return fail(refusal(stream, *header, request.name));
    const auto content = NANOBOX_TRY(read_content(stream, *header));
    if (header->type == FrameType::preparing && manifest.empty()) {
      const auto message = NANOBOX_TRY(decode_preparing(content));
      if (message.done <= prepared) return bad_source(request.name, "it prepares without end");
      prepared = message.done;
      continue;
    }
    if (header->type != FrameType::manifest) return bad_source(request.name, "it sent something else than a manifest");
    ByteReader reader(content);
    const auto total = reader.number<std::uint32_t>();
    const auto part = reader.raw(reader.left());
    if (part.empty() || total > kMostManifestBytes ||
        part.size() > total - std::min<std::size_t>(total, manifest.size()))
      return bad_source(request.name, "its manifest is longer than it may be");
    manifest.insert(manifest.end(), part.begin(), part.end());
    if (manifest.size() == total) break;
  }
  if (request.digest && chunk_digest(manifest) != *request.digest)
    return fail({.code = ErrorCode::digest_mismatch,
                 .attempted = "fetch artifact",
                 .subject = request.name + ", manifest",
                 .reason = "it is " + to_text(chunk_digest(manifest)) + ", not " + to_text(*request.digest),
                 .mend = "fetch it from another node"});
  return decode_manifest(manifest);
}

/// The names in the order in which they are to appear.
Result<std::vector<std::string>> order_of(const ArtifactManifest& manifest, const FetchRequest& request) {
  if (manifest.name != request.name) return bad_source(request.name, "it sent another artifact");
  std::vector<std::string> names;
  for (const auto& file : manifest.files) names.push_back(file.name);
  if (request.files.empty()) {
    std::stable_partition(names.begin(), names.end(), [](const auto& name) { return !name.ends_with(".json"); });
    return names;
  }
  if (!std::ranges::is_permutation(names, request.files))
    return bad_source(request.name, "its files are not those that the artifact has");
  return request.files;
}

/// Asks for chunks as far as the window goes, and takes them.
class ChunkTransfer {
public:
  ChunkTransfer(ByteStream& stream, const FetchRequest& request, const PartialArtifact& partial)
      : stream_(stream), request_(request), chunks_(partial.chunks()) {
    for (std::size_t i = 0; i < chunks_.size(); ++i)
      if (!partial.has(i)) missing_.push_back(i);
  }

  Result<void> run(ChunkWriter& writer, std::uint64_t total, const std::stop_token& stop) {
    while (received_ < missing_.size()) {
      if (stop.stop_requested()) return fail(cancelled(request_.name));
      // A server that refuses may have closed its end already, but its refusal is still to be read.
      if (auto asked = ask(); !asked && asked_ == received_) return asked;
      NANOBOX_TRY(take(writer));
      if (request_.progress) request_.progress(writer.stored_bytes(), total);
    }
    return writer.finish();
  }
  std::uint64_t received_bytes() const { return received_bytes_; }

private:
  Result<void> ask() {
    while (asked_ < missing_.size() && fits(missing_[asked_])) {
      ChunksMessage message{.first = missing_[asked_], .count = 0};
      while (asked_ < missing_.size() && missing_[asked_] == message.first + message.count &&
             message.count < kMostChunksRequested && fits(missing_[asked_])) {
        outstanding_bytes_ += chunks_[missing_[asked_]].bytes;
        ++asked_;
        ++message.count;
      }
      NANOBOX_TRY(write_frame(stream_, FrameType::chunks, encode(message)));
    }
    return {};
  }
  bool fits(std::size_t chunk) const {
    return asked_ == received_ || outstanding_bytes_ + chunks_[chunk].bytes <= request_.window_bytes;
  }

  Result<void> take(ChunkWriter& writer) {
    const auto index = missing_[received_];
    const auto bytes = chunks_[index].bytes;
    const auto header = NANOBOX_TRY(read_frame_header(stream_));
    if (!header) return fail(ended(request_.name));
    if (header->type == FrameType::refused) return fail(refusal(stream_, *header, request_.name));
    if (header->type != FrameType::data || header->length != kDataPrefixBytes + bytes)
      return bad_source(request_.name, "it sent something else than the data it was asked for");
    std::array<std::byte, kDataPrefixBytes> prefix;
    NANOBOX_TRY(read_exactly(stream_, prefix));
    if (ByteReader(prefix).number<std::uint64_t>() != index)
      return bad_source(request_.name, "it sent another chunk than it was asked for");
    auto* const buffer = NANOBOX_TRY(writer.acquire());
    NANOBOX_TRY(read_exactly(stream_, {buffer, bytes}));
    writer.store(index, buffer, bytes);
    outstanding_bytes_ -= bytes;
    received_bytes_ += bytes;
    ++received_;
    return {};
  }

  ByteStream& stream_;
  const FetchRequest& request_;
  const std::vector<ArtifactChunk>& chunks_;
  std::vector<std::size_t> missing_;
  std::size_t asked_ = 0, received_ = 0;  // of the missing ones; answers come in the order of the questions
  std::uint64_t outstanding_bytes_ = 0, received_bytes_ = 0;
};

Result<FetchedArtifact> fetch(ByteStream& stream, const FetchRequest& request, const std::stop_token& stop) {
  auto manifest = NANOBOX_TRY(fetch_manifest(stream, request));
  const auto order = NANOBOX_TRY(order_of(manifest, request));
  const auto total = data_bytes(manifest);
  if (total > request.most_bytes)
    return fail(
        {.code = ErrorCode::body_too_large,
         .attempted = "fetch artifact",
         .subject = request.name,
         .reason = "it has " + std::to_string(total) + " bytes, more than " + std::to_string(request.most_bytes),
         .mend = ""});
  auto partial = NANOBOX_TRY(PartialArtifact::open(request.tmp_folder, manifest));
  if (request.progress) request.progress(partial.verified_bytes(), total);
  ChunkTransfer transfer(stream, request, partial);
  Result<void> moved;
  {
    ChunkWriter writer(partial, kThreads, kBuffers);
    moved = transfer.run(writer, total, stop);
  }
  NANOBOX_TRY(std::move(moved));
  if (request.progress) request.progress(total, total);
  NANOBOX_TRY(partial.publish(request.destination, order, request.durable));
  return FetchedArtifact{.manifest = std::move(manifest), .received_bytes = transfer.received_bytes()};
}

}  // namespace

Result<FetchedArtifact> fetch_artifact(ByteStream& stream, const FetchRequest& request, std::stop_token stop) {
  if (!is_artifact_name(request.name) || !std::ranges::all_of(request.files, is_artifact_name))
    return fail({.code = ErrorCode::invalid_value,
                 .attempted = "fetch artifact",
                 .subject = request.name,
                 .reason = "a name is not a plain one",
                 .mend = ""});
  const std::stop_callback cut(stop, [&] { stream.cut(); });
  auto fetched = fetch(stream, request, stop);
  if (!fetched && fetched.error().code == ErrorCode::disk_full)
    discard_partial_artifact(request.tmp_folder, request.name);
  // The cut shows as whatever was going on.
  if (!fetched && stop.stop_requested()) return fail(cancelled(request.name));
  return fetched;
}

bool is_source_bad(const Error& error) {
  return error.code == ErrorCode::digest_mismatch || error.code == ErrorCode::peer_untrusted ||
         error.code == ErrorCode::version_incompatible;
}

}  // namespace nanobox
