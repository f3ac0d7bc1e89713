#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "config/error.hpp"
#include "pipeline/cluster/artifact/chunk_digest.hpp"

namespace nanobox {

/// A stretch of a file that has data; everything between extents is zero.
struct Extent {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
  bool operator==(const Extent&) const = default;
};

/// One file of an artifact.
struct ArtifactFile {
  std::string name;                  ///< a single path component
  std::uint32_t mode = 0;            ///< permission bits, at most 0777
  std::uint64_t size = 0;            ///< apparent, in bytes
  std::vector<Extent> extents;       ///< ascending, apart; blocks that are all zero belong to none
  std::vector<ChunkDigest> digests;  ///< of each chunk that has data, in order: over its data without what lies between
  bool operator==(const ArtifactFile&) const = default;
};

/// What an artifact consists of. A function of the files' names, modes and contents alone: equal on every node.
struct ArtifactManifest {
  std::string name;
  std::vector<ArtifactFile> files;
  bool operator==(const ArtifactManifest&) const = default;
};

/// Whether it is a single path component of at most kMostArtifactNameBytes that begins with a letter or digit and has
/// letters, digits, '.', '-' and '_' only.
bool is_artifact_name(std::string_view name);

std::vector<std::byte> encode_manifest(const ArtifactManifest& manifest);
/// Checks everything there is to check: no byte of `bytes` is trusted. @errors peer_untrusted: which rule it breaks
Result<ArtifactManifest> decode_manifest(std::span<const std::byte> bytes);
/// Over the encoded manifest: names the artifact's contents.
ChunkDigest manifest_digest(const ArtifactManifest& manifest);

/// Bytes in extents of all files.
std::uint64_t data_bytes(const ArtifactManifest& manifest);

}  // namespace nanobox
