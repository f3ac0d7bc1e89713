#pragma once

#include <cstddef>
#include <cstdint>

namespace nanobox {

/// What is verified and sent at once: this much of a file's offsets, holes counted.
inline constexpr std::uint64_t kArtifactChunkBytes = 1U << 20;
/// Extents start and end at multiples of this, but for the end of a file.
inline constexpr std::uint64_t kArtifactBlockBytes = 4096;

inline constexpr std::size_t kMostArtifactFiles = 64;
inline constexpr std::size_t kMostArtifactNameBytes = 200;
inline constexpr std::size_t kMostTicketBytes = 16U << 10;
inline constexpr std::uint64_t kMostArtifactFileBytes = std::uint64_t{16} << 40;
/// Of an encoded manifest.
inline constexpr std::size_t kMostManifestBytes = 64U << 20;
/// Chunks in one request.
inline constexpr std::uint32_t kMostChunksRequested = 1024;

}  // namespace nanobox
