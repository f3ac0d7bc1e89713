#include "pipeline/cluster/lineage/lineage_artifacts.hpp"

#include <algorithm>

#include "pipeline/cluster/artifact/manifest.hpp"

namespace nanobox {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kSnapshot = "snapshot.", kDisk = "disk.", kLayer = "layer.", kSaved = "saved.";
constexpr const char* kDiskFile = "disk.qcow2";

/// What may be a component of a path, and of an artifact's name between its points.
bool is_part(std::string_view text) {
  return is_artifact_name(text) && text.find('.') == std::string_view::npos;
}

Error no_node_has(const fs::path& path) {
  return {.code = ErrorCode::invalid_value,
          .attempted = "find what a sandbox stands on",
          .subject = path,
          .reason = "it is no snapshot's, layer's or saved state's path",
          .mend = ""};
}

/// Of .../templates/KEY/SIZE, .../templates/KEY/disk.qcow2, ... the last component first.
std::vector<std::string> last_parts(const fs::path& path) {
  std::vector<std::string> parts;
  for (auto rest = path; !rest.filename().empty() && parts.size() < 4; rest = rest.parent_path())
    parts.push_back(rest.filename());
  parts.resize(4);
  return parts;
}

Result<std::string> checked_name(std::string name, const fs::path& path) {
  if (!lineage_place(name, {})) return fail(no_node_has(path));
  return name;
}

Result<std::string> snapshot_of(const fs::path& folder) {
  const auto parts = last_parts(folder);
  if (parts[2] != "templates") return fail(no_node_has(folder));
  return checked_name(std::string(kSnapshot) + parts[1] + "." + parts[0], folder);
}

Result<std::string> saved_of(const fs::path& folder) {
  const auto parts = last_parts(folder);
  if (parts[1] != "sandboxes") return fail(no_node_has(folder));
  return checked_name(std::string(kSaved) + parts[0], folder);
}

Result<std::string> disk_of(const fs::path& file) {
  const auto parts = last_parts(file);
  if (parts[0] != kDiskFile) return fail(no_node_has(file));
  if (parts[2] == "templates") return checked_name(std::string(kDisk) + parts[1], file);
  if (parts[3] == "templates") return snapshot_of(file.parent_path());
  return checked_name(std::string(kLayer) + parts[1], file);
}

}  // namespace

std::optional<LineagePlace> lineage_place(std::string_view artifact, const LineageFolders& folders) {
  const auto after = [&](std::string_view kind) { return artifact.substr(kind.size()); };
  if (artifact.starts_with(kSnapshot)) {
    const auto rest = after(kSnapshot);
    const auto point = rest.find('.');
    if (point == std::string_view::npos || !is_part(rest.substr(0, point)) || !is_part(rest.substr(point + 1)))
      return std::nullopt;
    return LineagePlace{.folder = folders.snapshots / "templates" / rest.substr(0, point) / rest.substr(point + 1),
                        .files = {"mem", "state", kDiskFile, "manifest.json"},
                        .is_folder = true};
  }
  if (artifact.starts_with(kDisk) && is_part(after(kDisk)))
    return LineagePlace{.folder = folders.snapshots / "templates" / after(kDisk), .files = {kDiskFile}};
  if (artifact.starts_with(kLayer) && is_part(after(kLayer)))
    return LineagePlace{.folder = folders.layers / after(kLayer), .files = {kDiskFile}};
  if (artifact.starts_with(kSaved) && is_part(after(kSaved)))
    return LineagePlace{.folder = folders.snapshots / "sandboxes" / after(kSaved),
                        .files = {"state", "pages", "manifest.json"},
                        .is_folder = true};
  return std::nullopt;
}

std::string snapshot_artifact(std::string_view key, const Resources& size) {
  return std::string(kSnapshot) + std::string(key) + "." + std::to_string(size.vcpu) + "-" +
         std::to_string(size.memory_mb);
}

std::string template_disk_artifact(std::string_view key) {
  return std::string(kDisk) + std::string(key);
}

Result<std::vector<std::string>> lineage_artifacts(const SandboxLineage& lineage) {
  std::vector<std::string> names;
  const auto add = [&](std::string name) {
    if (std::ranges::find(names, name) == names.end()) names.push_back(std::move(name));
  };
  if (!lineage.snapshot.empty()) add(NANOBOX_TRY(snapshot_of(lineage.snapshot)));
  for (const auto& layer : lineage.disk_layers) add(NANOBOX_TRY(disk_of(layer)));
  if (!lineage.memory_layer.empty()) add(NANOBOX_TRY(saved_of(lineage.memory_layer.parent_path())));
  if (!lineage.paused_state.empty()) add(NANOBOX_TRY(saved_of(lineage.paused_state)));
  return names;
}

Result<SandboxLineage> localized(const SandboxLineage& lineage, const LineageFolders& folders) {
  SandboxLineage local;
  const auto folder_of = [&](const std::string& name) { return lineage_place(name, folders)->folder; };
  if (!lineage.snapshot.empty()) local.snapshot = folder_of(NANOBOX_TRY(snapshot_of(lineage.snapshot)));
  for (const auto& layer : lineage.disk_layers)
    local.disk_layers.push_back(folder_of(NANOBOX_TRY(disk_of(layer))) / kDiskFile);
  if (!lineage.memory_layer.empty())
    local.memory_layer = folder_of(NANOBOX_TRY(saved_of(lineage.memory_layer.parent_path()))) / "pages";
  if (!lineage.paused_state.empty()) local.paused_state = folder_of(NANOBOX_TRY(saved_of(lineage.paused_state)));
  return local;
}

std::string saved_name(const Sandbox& sandbox) {
  return sandbox.lineage.paused_state.filename();
}

std::string sandbox_of_saved(std::string_view name) {
  return std::string(name.substr(0, std::min(name.size(), name.rfind('-'))));
}

}  // namespace nanobox
