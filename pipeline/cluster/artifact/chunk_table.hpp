#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "config/error.hpp"
#include "pipeline/cluster/artifact/manifest.hpp"

namespace nanobox {

/// A chunk that has data.
struct ArtifactChunk {
  std::uint32_t file = 0;    ///< index into the manifest's files
  std::uint64_t number = 0;  ///< offset / kArtifactChunkBytes
  std::size_t extent = 0;    ///< index of the first of the file's extents that reaches into it
  std::size_t digest = 0;    ///< index into the file's digests
  std::uint32_t bytes = 0;   ///< of data, 1 to kArtifactChunkBytes
};

/// All chunks that have data, file by file, ascending: the order in which both sides count them.
std::vector<ArtifactChunk> chunk_table(const ArtifactManifest& manifest);

/// The chunk's parts of extents, ascending; together `chunk.bytes`.
std::vector<Extent> pieces_of(const ArtifactFile& file, const ArtifactChunk& chunk);

/// For people: "mem, chunk 17".
std::string name_of(const ArtifactManifest& manifest, const ArtifactChunk& chunk);

/// The chunk's data out of the file open at `fd`, into the chunk.bytes bytes at `into`. @errors io_failed
Result<void> read_chunk(int fd, const ArtifactFile& file, const ArtifactChunk& chunk, std::byte* into);
/// Its data into the file; holes stay. @errors disk_full · io_failed
Result<void> write_chunk(int fd, const ArtifactFile& file, const ArtifactChunk& chunk, const std::byte* from);

}  // namespace nanobox
