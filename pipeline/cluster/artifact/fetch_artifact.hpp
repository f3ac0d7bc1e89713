#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "pipeline/cluster/artifact/manifest.hpp"
#include "pipeline/cluster/byte_stream.hpp"

namespace nanobox {

/// What to fetch, and where to.
struct FetchRequest {
  std::string ticket;
  std::string name;                   ///< the artifact's
  std::filesystem::path tmp_folder;   ///< on the destination's file system; `<name>.part` in it is what a cut leaves
  std::filesystem::path destination;  ///< folder where the files appear, whole
  /// The names that the artifact must have, exactly; they appear in this order, so the one that describes it comes
  /// last. Empty: whatever names it has (for a folder of its own), those that end in .json last.
  std::vector<std::string> files = {};
  /// Of the manifest, when known from somebody other than the source.
  std::optional<ChunkDigest> digest = std::nullopt;
  std::uint64_t most_bytes = UINT64_MAX;  ///< of data that the caller is ready to take
  std::uint64_t window_bytes = 4U << 20;  ///< data asked for and not yet here
  bool durable = true;                    ///< survives a crash of the machine once fetched
  /// Told the data verified so far and in all, from the calling thread.
  std::function<void(std::uint64_t done, std::uint64_t total)> progress = {};
};

struct FetchedArtifact {
  ArtifactManifest manifest;
  std::uint64_t received_bytes = 0;  ///< data that came over this stream
};

/// Fetches an artifact whose server is at the other end. May be called again on the same stream after success; after an
/// error the stream is of no use any more. What was verified stays for the next try, with this source or another.
/// Blocks; on `stop` it cuts the stream.
/// @errors digest_mismatch (names the chunk) · peer_untrusted · version_incompatible: this source must not be used
/// again
///         (see is_source_bad) · artifact_missing · token_invalid · token_expired · others that the server refuses with
///         · connection_lost · deadline_exceeded: try again · disk_full: what there was is discarded · conflict: it is
///         being fetched already · body_too_large: above most_bytes · invalid_value: the request's names · cancelled ·
///         io_failed
Result<FetchedArtifact> fetch_artifact(ByteStream& stream, const FetchRequest& request, std::stop_token stop = {});

/// Whether the error says that the source broke its word.
bool is_source_bad(const Error& error);

}  // namespace nanobox
