#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "pipeline/cluster/artifact/chunk_table.hpp"
#include "pipeline/cluster/artifact/fetch_artifact.hpp"
#include "pipeline/cluster/artifact/frame.hpp"
#include "pipeline/cluster/artifact/limits.hpp"
#include "pipeline/cluster/artifact/message.hpp"
#include "pipeline/cluster/artifact/scan_file.hpp"
#include "pipeline/cluster/artifact/serve_artifacts.hpp"

using namespace nanobox;

namespace {

using Input = std::span<const std::byte>;

/// A peer that sends the input in pieces and takes whatever it is sent.
class InputStream final : public ByteStream {
public:
  explicit InputStream(Input input) : input_(input) {}
  Result<std::size_t> read(std::span<std::byte> into) override {
    const auto count = std::min({into.size(), input_.size(), std::size_t{700}});
    std::copy_n(input_.begin(), count, into.begin());
    input_ = input_.subspan(count);
    return count;
  }
  Result<void> write(std::span<const std::byte> bytes) override {
    written_ += bytes.size();
    if (written_ < (8U << 20)) return {};
    return fail({.code = ErrorCode::connection_lost, .attempted = "write", .subject = "", .reason = "", .mend = ""});
  }
  void cut() override { input_ = {}; }

private:
  Input input_;
  std::size_t written_ = 0;
};

/// An artifact of one file with two chunks.
class Catalogue final : public ArtifactCatalogue {
public:
  Result<OpenArtifact> open(const std::string&, const std::string& name, const ScanProgress&) const override {
    UniqueFd file(::memfd_create("artifact", MFD_CLOEXEC));
    const std::string bytes(3000, 'x');
    if (::pwrite(file.get(), bytes.data(), bytes.size(), 0) < 0 ||
        ::pwrite(file.get(), bytes.data(), bytes.size(), 1U << 20) < 0)
      std::abort();
    OpenArtifact artifact;
    artifact.manifest.name = name;
    artifact.manifest.files.push_back(scan_file(file.get(), "mem", [](std::uint64_t) {}).value());
    artifact.files.push_back(std::move(file));
    return artifact;
  }
};

// What is taken for a manifest keeps every rule, and is written as it was read.
void look_at_manifest(Input input) {
  const auto manifest = decode_manifest(input);
  if (!manifest) return;
  if (!std::ranges::equal(encode_manifest(*manifest), input)) std::abort();
  const auto chunks = chunk_table(*manifest);
  std::uint64_t sum = 0;
  std::size_t digests = 0;
  for (const auto& file : manifest->files) {
    digests += file.digests.size();
    if (!is_artifact_name(file.name) || file.name.find('/') != std::string::npos) std::abort();
  }
  if (digests != chunks.size()) std::abort();
  for (const auto& chunk : chunks) {
    const auto& file = manifest->files[chunk.file];
    if (chunk.digest >= file.digests.size() || chunk.bytes == 0 || chunk.bytes > kArtifactChunkBytes) std::abort();
    std::uint64_t bytes = 0, border = chunk.number * kArtifactChunkBytes;
    for (const auto& piece : pieces_of(file, chunk)) {
      if (piece.offset < border || piece.offset + piece.length > file.size) std::abort();
      border = piece.offset + piece.length;
      bytes += piece.length;
    }
    if (bytes != chunk.bytes || border > (chunk.number + 1) * kArtifactChunkBytes) std::abort();
    sum += bytes;
  }
  if (sum != data_bytes(*manifest)) std::abort();
}

void look_at_frames(Input input) {
  while (input.size() >= kFrameHeaderBytes) {
    const auto header = decode_frame_header(input.first<kFrameHeaderBytes>());
    if (!header || header->length > longest_content(header->type)) return;
    input = input.subspan(kFrameHeaderBytes);
    const auto content = input.first(std::min<std::size_t>(header->length, input.size()));
    if (const auto get = decode_get(content); get && !std::ranges::equal(encode(*get), content)) std::abort();
    if (const auto some = decode_chunks(content, 100); some && some->first + some->count > 100) std::abort();
    if (const auto refusal = decode_refusal(content);
        refusal && longest_content(FrameType::refused) < encode(*refusal).size())
      std::abort();
    (void)decode_preparing(content);
    input = input.subspan(content.size());
  }
}

// Whatever the server sends, nothing appears but what its manifest names and its digests cover.
void fetch_from(Input input) {
  static const std::filesystem::path folder = "/dev/shm/nanobox-artifact-fuzz-" + std::to_string(::getpid());
  InputStream stream(input);
  const auto fetched = fetch_artifact(
      stream,
      {.ticket = "", .name = "root", .tmp_folder = folder / ".tmp", .destination = folder / "here", .durable = false});
  std::error_code error;
  if (!fetched && std::filesystem::exists(folder / "here", error)) std::abort();
  for (std::filesystem::directory_iterator at(folder, error), end; !error && at != end; at.increment(error))
    if (at->path().filename() != ".tmp" && at->path().filename() != "here") std::abort();
  std::filesystem::remove_all(folder, error);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1) return 0;
  const auto input = std::as_bytes(std::span(data + 1, size - 1));
  switch (data[0] % 4) {
    case 0:
      look_at_manifest(input);
      break;
    case 1:
      look_at_frames(input);
      break;
    case 2: {
      InputStream stream(input);
      (void)serve_artifacts(stream, Catalogue());
      break;
    }
    default:
      fetch_from(input);
  }
  return 0;
}
