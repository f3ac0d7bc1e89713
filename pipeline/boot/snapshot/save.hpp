#pragma once

#include <vector>

#include "pipeline/boot/snapshot/capture.hpp"
#include "pipeline/boot/snapshot/snapshot_store.hpp"

namespace nanobox {

/// A guest is to be saved: what to capture, and where it goes.
struct SaveOrder {
  CaptureOrder capture;                        ///< without `folder`
  SavedState saved;                            ///< what the manifest says; `folder` is the final one
  bool manifest = true;                        ///< with checksums; else the state is of use in this daemon's life only
  std::filesystem::path disk_layer;            ///< of a VM that stands still afterwards: its overlay becomes that layer
  bool sync = false;                           ///< the guest writes back first, for else each copy would
  bool disk_into_folder = false;               ///< of such a VM: its overlay becomes the folder's `disk.qcow2`
  std::vector<std::filesystem::path> flatten;  ///< overlays, bottom first, that become one: `flattened`
  std::filesystem::path flattened;
};

struct Saved {
  Captured captured;
  SavedState state;
  std::int64_t frozen_us = 0;  ///< no process of the guest ran, but init
};

/// Captures and publishes. On failure nothing is published, the VM runs, and its overlay is where it was (but for a
/// freeze, see `capture`). Blocking: worker threads only. @errors as `capture`
Result<Saved> save(Vm& vm, SnapshotStore& store, const SaveOrder& order);

}  // namespace nanobox
