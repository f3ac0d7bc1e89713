#include <algorithm>
#include <set>

#include "actors/disk_keeper.hpp"
#include "actors/sandbox_steps.hpp"
#include "actors/template_snapshot.hpp"

namespace nanobox {

namespace {

using Self = SandboxRegistrySelf;
namespace fs = std::filesystem;

}  // namespace

void mend_lineage(const Services& services, Sandbox& sandbox) {
  auto& layers = sandbox.lineage.disk_layers;
  if (layers.empty()) return;
  const auto overlay = sandbox_files(services, sandbox.id).overlay;
  auto next = overlay;
  next += ".next";
  std::error_code error;
  if (!fs::exists(layers.back(), error)) {
    layers.pop_back();  // it was announced, and nothing was moved
  } else if (!fs::exists(overlay, error) && fs::exists(next, error)) {
    fs::rename(next, overlay, error);
  } else if (!fs::exists(overlay, error)) {
    fs::rename(layers.back(), overlay, error);  // moved for a pause that did not come
    layers.pop_back();
  }
  fs::remove(next, error);
}

bool finish_pause(const Services& services, Sandbox& sandbox) {
  const auto saved = read_saved_state(sandbox.lineage.paused_state);
  if (!saved || !verify_saved_state(*saved) || sandbox.lineage.disk_layers.empty()) return false;
  const auto overlay = sandbox_files(services, sandbox.id).overlay;
  const auto& layer = sandbox.lineage.disk_layers.back();
  std::error_code error;
  if (!fs::exists(layer, error)) {
    fs::create_directories(layer.parent_path(), error);
    fs::rename(overlay, layer, error);
    if (error) return false;
  }
  sandbox.status = SandboxStatus::paused;
  sandbox.lineage.memory_layer = saved->pages();
  sandbox.expires_at.reset();
  return true;
}

void collect_layers(Self self) {
  const auto& services = *self->state.services;
  std::set<fs::path> used = self->state.half_saved;
  for (const auto& sandbox : all_with_files(*services.boards)) {
    const auto& lineage = sandbox->lineage;
    used.insert(lineage.paused_state);
    if (!lineage.memory_layer.empty()) used.insert(lineage.memory_layer.parent_path());
    for (const auto& layer : lineage.disk_layers) used.insert(layer.parent_path());
  }
  std::error_code error;
  for (const auto& folder :
       {services.sandboxes_folder / kLayersFolder, services.snapshots->sandbox_folder("x").parent_path()})
    for (const auto& entry : fs::directory_iterator(folder, error))
      if (!used.contains(entry.path())) fs::remove_all(entry.path(), error);
  collect_snapshots(services);
}

}  // namespace nanobox
