#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "config/error.hpp"
#include "config/unique_fd.hpp"
#include "pipeline/cluster/artifact/manifest.hpp"

namespace nanobox {

/// An artifact to read from. Its files stay readable when their names are gone.
struct OpenArtifact {
  ArtifactManifest manifest;
  std::vector<UniqueFd> files;  ///< as in the manifest
};

/// Told how far the digests of an artifact are, in bytes.
using ScanProgress = std::function<void(std::uint64_t done, std::uint64_t total)>;

/// The artifacts that a node hands out. Several threads may call it at once.
class ArtifactCatalogue {
public:
  ArtifactCatalogue() = default;
  ArtifactCatalogue(const ArtifactCatalogue&) = delete;
  ArtifactCatalogue& operator=(const ArtifactCatalogue&) = delete;
  virtual ~ArtifactCatalogue() = default;

  /// @param ticket    what the client shows as its right to it; untrusted @param name  a plain name; untrusted
  /// @param progress  to be handed on to `open_artifact`: keeps the client waiting
  /// @errors artifact_missing · token_invalid · token_expired · others: sent to the client as they are
  virtual Result<OpenArtifact> open(const std::string& ticket, const std::string& name,
                                    const ScanProgress& progress) const = 0;
};

}  // namespace nanobox
