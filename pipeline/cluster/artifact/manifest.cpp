#include "pipeline/cluster/artifact/manifest.hpp"

#include <algorithm>

#include "pipeline/cluster/artifact/byte_codec.hpp"
#include "pipeline/cluster/artifact/limits.hpp"

namespace nanobox {

namespace {

constexpr std::uint32_t kMagic = 0x4D41424E;  // "NBAM"
constexpr std::uint16_t kFormat = 1;
constexpr std::size_t kExtentBytes = 16;

tl::unexpected<Error> broken(std::string subject, std::string reason) {
  return fail({.code = ErrorCode::peer_untrusted,
               .attempted = "read an artifact's manifest",
               .subject = std::move(subject),
               .reason = std::move(reason),
               .mend = "fetch it from another node"});
}

Result<ArtifactFile> decode_file(ByteReader& reader) {
  ArtifactFile file;
  file.name = reader.text();
  file.mode = reader.number<std::uint32_t>();
  file.size = reader.number<std::uint64_t>();
  const auto extents = reader.number<std::uint32_t>();
  if (!is_artifact_name(file.name)) return broken("", "a file's name is not a plain one");
  if (file.mode > 0777) return broken(file.name, "its mode has more than permissions");
  if (file.size > kMostArtifactFileBytes) return broken(file.name, "it is too large");
  if (extents > reader.left() / kExtentBytes) return broken(file.name, "extents are missing");
  file.extents.reserve(extents);
  std::uint64_t border = 0;      // what the next extent may touch at the earliest
  std::uint64_t chunks = 0;      // those with data so far
  std::uint64_t next_chunk = 0;  // behind the last of them
  for (std::uint32_t i = 0; i < extents; ++i) {
    const Extent extent{reader.number<std::uint64_t>(), reader.number<std::uint64_t>()};
    if (extent.offset >= file.size || extent.length == 0 || extent.length > file.size - extent.offset)
      return broken(file.name, "an extent lies outside of the file");
    const auto end = extent.offset + extent.length;
    if (i != 0 && extent.offset <= border) return broken(file.name, "extents overlap or touch");
    if (extent.offset % kArtifactBlockBytes != 0 || (end % kArtifactBlockBytes != 0 && end != file.size))
      return broken(file.name, "an extent is not aligned");
    const auto first = std::max(next_chunk, extent.offset / kArtifactChunkBytes);
    next_chunk = (end + kArtifactChunkBytes - 1) / kArtifactChunkBytes;
    chunks += next_chunk - std::min(first, next_chunk);
    border = end;
    file.extents.push_back(extent);
  }
  if (chunks > reader.left() / ChunkDigest{}.size()) return broken(file.name, "digests are missing");
  file.digests.resize(chunks);
  for (auto& digest : file.digests) std::ranges::copy(reader.raw(digest.size()), digest.begin());
  return file;
}

}  // namespace

bool is_artifact_name(std::string_view name) {
  const auto is_alphanumeric = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  };
  return !name.empty() && name.size() <= kMostArtifactNameBytes && is_alphanumeric(name.front()) &&
         std::ranges::all_of(name, [&](char c) { return is_alphanumeric(c) || c == '.' || c == '-' || c == '_'; });
}

std::vector<std::byte> encode_manifest(const ArtifactManifest& manifest) {
  ByteWriter writer;
  writer.number(kMagic);
  writer.number(kFormat);
  writer.text(manifest.name);
  writer.number(static_cast<std::uint16_t>(manifest.files.size()));
  for (const auto& file : manifest.files) {
    writer.text(file.name);
    writer.number(file.mode);
    writer.number(file.size);
    writer.number(static_cast<std::uint32_t>(file.extents.size()));
    for (const auto& extent : file.extents) {
      writer.number(extent.offset);
      writer.number(extent.length);
    }
    for (const auto& digest : file.digests) writer.raw(digest);
  }
  return writer.take();
}

Result<ArtifactManifest> decode_manifest(std::span<const std::byte> bytes) {
  if (bytes.size() > kMostManifestBytes) return broken("", "it is too large");
  ByteReader reader(bytes);
  if (reader.number<std::uint32_t>() != kMagic || reader.number<std::uint16_t>() != kFormat)
    return broken("", "it is none of this format");
  ArtifactManifest manifest;
  manifest.name = reader.text();
  if (!is_artifact_name(manifest.name)) return broken("", "the artifact's name is not a plain one");
  const auto files = reader.number<std::uint16_t>();
  if (files > kMostArtifactFiles) return broken(manifest.name, "it has too many files");
  for (std::uint16_t i = 0; i < files; ++i) {
    auto file = NANOBOX_TRY(decode_file(reader));
    if (!reader.good()) return broken(manifest.name, "it ends too soon");
    if (std::ranges::any_of(manifest.files, [&](const auto& other) { return other.name == file.name; }))
      return broken(file.name, "two files have that name");
    manifest.files.push_back(std::move(file));
  }
  if (!reader.at_end()) return broken(manifest.name, "its length is wrong");
  return manifest;
}

ChunkDigest manifest_digest(const ArtifactManifest& manifest) {
  return chunk_digest(encode_manifest(manifest));
}

std::uint64_t data_bytes(const ArtifactManifest& manifest) {
  std::uint64_t sum = 0;
  for (const auto& file : manifest.files)
    for (const auto& extent : file.extents) sum += extent.length;
  return sum;
}

}  // namespace nanobox
