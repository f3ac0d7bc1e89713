#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "pipeline/cluster/artifact/catalogue.hpp"

namespace nanobox {

/// Where a file of an artifact lies.
struct ArtifactPath {
  std::string name;  ///< in the artifact
  std::filesystem::path path;
};

/// Opens the files and finds their manifest: in `cache` if it was made of the same files (size, time, inode), else by
/// reading them once; `cache` (its folder must exist) is written then, as far as that is possible. Several may open the
/// same artifact at once.
/// @param cache  usually "<artifact>.chunks" beside the files
/// @param files  the one that describes the artifact last
/// @errors artifact_missing: a file is not there · invalid_value: a name is not plain, a path no regular file ·
/// conflict:
///         a file changed meanwhile · io_failed
Result<OpenArtifact> open_artifact(const std::string& name, const std::vector<ArtifactPath>& files,
                                   const std::filesystem::path& cache, const ScanProgress& progress = {});

/// Writes the cache for files that have just been fetched by that manifest, so that handing them on needs no reading.
/// @errors as `open_artifact` · disk_full
Result<void> remember_manifest(const ArtifactManifest& manifest, const std::vector<ArtifactPath>& files,
                               const std::filesystem::path& cache);

}  // namespace nanobox
