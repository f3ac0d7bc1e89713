#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "actors/services.hpp"

namespace nanobox {

/// Where an artifact came from.
struct ArtifactOrigin {
  std::string source;       ///< "host:port"; empty: it was here
  std::uint64_t bytes = 0;  ///< that came
};

/// Sees to it that an artifact is in its place here, by its name: a root (its identity), or what sandboxes at rest
/// stand on (lineage_artifacts.hpp). Gets it from one of the sources, data_addr of other nodes, if it must. Blocking.
/// @errors artifact_missing · connection_failed · digest_mismatch · disk_full
using FetchArtifact = std::function<Result<ArtifactOrigin>(const Services& services, const std::string& name,
                                                           const std::vector<std::string>& sources)>;

}  // namespace nanobox
