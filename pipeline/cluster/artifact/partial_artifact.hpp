#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "config/unique_fd.hpp"
#include "pipeline/cluster/artifact/chunk_table.hpp"

namespace nanobox {

/// An artifact that is arriving, in a folder `<name>.part` of its own that outlives the process: the files under
/// numbers, and a record of the chunks that are verified and written. Move-only.
class PartialArtifact {
public:
  /// Goes on with what the folder holds when that is of the same manifest and the machine has not started again since
  /// (what was written last may be lost then); else begins anew.
  /// @errors conflict: somebody else fills it · disk_full: it will not fit · io_failed
  static Result<PartialArtifact> open(const std::filesystem::path& tmp_folder, const ArtifactManifest& manifest);

  const std::vector<ArtifactChunk>& chunks() const { return chunks_; }
  bool has(std::size_t chunk) const { return (verified_[chunk / 8] >> (chunk % 8) & 1) != 0; }
  /// Data of chunks verified so far, in bytes.
  std::uint64_t verified_bytes() const { return verified_bytes_; }

  /// Verifies the data of chunks()[chunk], all of it, and writes it. Threads may do so at once, each another chunk.
  /// @errors digest_mismatch: names the chunk · disk_full · io_failed
  Result<void> write(std::size_t chunk, std::span<const std::byte> data) const;
  /// Records that the chunk is written. One thread at a time. @errors disk_full · io_failed
  Result<void> mark(std::size_t chunk);

  /// All chunks are written and marked: gives each file its mode and moves it into `destination` (on the same file
  /// system), in that order; the folder is gone then. @param order  all names of the manifest
  /// @param durable  survives a crash of the machine @errors disk_full · io_failed
  Result<void> publish(const std::filesystem::path& destination, const std::vector<std::string>& order, bool durable);

private:
  PartialArtifact(std::filesystem::path path, UniqueFd folder, ArtifactManifest manifest);
  std::vector<std::byte> record_head() const;
  bool resume();
  Result<void> begin_anew();
  Result<void> check_space() const;

  std::filesystem::path path_;
  UniqueFd folder_;  // holds the lock
  ArtifactManifest manifest_;
  std::vector<ArtifactChunk> chunks_;
  std::vector<UniqueFd> files_;
  UniqueFd record_;
  std::size_t record_head_bytes_ = 0;
  std::vector<std::uint8_t> verified_;  // a bit for each chunk
  std::uint64_t verified_bytes_ = 0;
};

/// Forgets what there is of an artifact that is arriving; what is not there is no error.
void discard_partial_artifact(const std::filesystem::path& tmp_folder, const std::string& name);

}  // namespace nanobox
