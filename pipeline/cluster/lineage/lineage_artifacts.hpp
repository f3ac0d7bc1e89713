#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/error.hpp"
#include "pipeline/sandbox.hpp"

namespace nanobox {

/// Where a node keeps what sandboxes at rest stand on.
struct LineageFolders {
  std::filesystem::path snapshots;  ///< [agent] snapshot_dir
  std::filesystem::path layers;     ///< of frozen overlays
};

// What a sandbox at rest stands on travels as artifacts (pipeline/cluster/artifact), each of which is written once and
// whose name is given once in a cluster: whoever has one of that name has it. Four kinds:
// snapshot.<key>.<vcpu>-<memory_mb>   a template's snapshot: its folder
// disk.<key>                          the own disk of a template that was made from a sandbox
// layer.<id>                          a frozen overlay
// saved.<name>                        the state of a pause, or of a fork to other nodes: its folder

/// Where an artifact's files are on a node.
struct LineagePlace {
  std::filesystem::path folder;
  std::vector<std::string> files;  ///< all that may be there, `manifest.json` last
  bool is_folder = false;          ///< the folder is the artifact's own: it appears whole
};

/// Nothing for a name that is no such artifact's. The name may be anybody's word.
std::optional<LineagePlace> lineage_place(std::string_view artifact, const LineageFolders& folders);

std::string snapshot_artifact(std::string_view key, const Resources& size);
std::string template_disk_artifact(std::string_view key);

/// The artifacts of a lineage, from any node. @errors invalid_value: a path that no node has
Result<std::vector<std::string>> lineage_artifacts(const SandboxLineage& lineage);

/// The same lineage in these folders. @errors invalid_value: as above
Result<SandboxLineage> localized(const SandboxLineage& lineage, const LineageFolders& folders);

/// The name of a sandbox' saved state, one in the cluster: the sandbox' id and an end of its own.
std::string saved_name(const Sandbox& sandbox);
/// Whose state that is.
std::string sandbox_of_saved(std::string_view name);

}  // namespace nanobox
