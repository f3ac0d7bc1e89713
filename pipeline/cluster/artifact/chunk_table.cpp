#include "pipeline/cluster/artifact/chunk_table.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "pipeline/cluster/artifact/limits.hpp"

namespace nanobox {

std::vector<ArtifactChunk> chunk_table(const ArtifactManifest& manifest) {
  std::vector<ArtifactChunk> chunks;
  for (std::uint32_t index = 0; index < manifest.files.size(); ++index) {
    const auto& file = manifest.files[index];
    const auto first_of_file = chunks.size();
    for (std::size_t i = 0; i < file.extents.size(); ++i) {
      const auto begin = file.extents[i].offset, end = begin + file.extents[i].length;
      for (auto number = begin / kArtifactChunkBytes; number * kArtifactChunkBytes < end; ++number) {
        if (chunks.size() == first_of_file || chunks.back().number != number)
          chunks.push_back(
              {.file = index, .number = number, .extent = i, .digest = chunks.size() - first_of_file, .bytes = 0});
        chunks.back().bytes += static_cast<std::uint32_t>(std::min(end, (number + 1) * kArtifactChunkBytes) -
                                                          std::max(begin, number * kArtifactChunkBytes));
      }
    }
  }
  return chunks;
}

std::vector<Extent> pieces_of(const ArtifactFile& file, const ArtifactChunk& chunk) {
  const auto begin = chunk.number * kArtifactChunkBytes, end = begin + kArtifactChunkBytes;
  std::vector<Extent> pieces;
  for (auto i = chunk.extent; i < file.extents.size() && file.extents[i].offset < end; ++i) {
    const auto from = std::max(begin, file.extents[i].offset);
    pieces.push_back({from, std::min(end, file.extents[i].offset + file.extents[i].length) - from});
  }
  return pieces;
}

std::string name_of(const ArtifactManifest& manifest, const ArtifactChunk& chunk) {
  return manifest.files[chunk.file].name + ", chunk " + std::to_string(chunk.number);
}

Result<void> read_chunk(int fd, const ArtifactFile& file, const ArtifactChunk& chunk, std::byte* into) {
  for (const auto& piece : pieces_of(file, chunk)) {
    for (std::uint64_t done = 0; done < piece.length;) {
      const auto count = ::pread(fd, into, piece.length - done, static_cast<off_t>(piece.offset + done));
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) return fail(errno_error(errno, "read", file.name));
      if (count == 0)
        return fail({.code = ErrorCode::io_failed,
                     .attempted = "read",
                     .subject = file.name,
                     .reason = "it has become shorter",
                     .mend = ""});
      done += static_cast<std::uint64_t>(count);
      into += count;
    }
  }
  return {};
}

Result<void> write_chunk(int fd, const ArtifactFile& file, const ArtifactChunk& chunk, const std::byte* from) {
  for (const auto& piece : pieces_of(file, chunk)) {
    for (std::uint64_t done = 0; done < piece.length;) {
      const auto count = ::pwrite(fd, from, piece.length - done, static_cast<off_t>(piece.offset + done));
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) return fail(errno_error(errno, "write", file.name));
      done += static_cast<std::uint64_t>(count);
      from += count;
    }
  }
  return {};
}

}  // namespace nanobox
