#pragma once

#include "actors/services.hpp"
#include "pipeline/boot/snapshot/snapshot_store.hpp"
#include "pipeline/boot/stages.hpp"

namespace nanobox {

/// What this node's kernel, init and VMM make of the template: SnapshotStore::key_of. Needs a driver.
std::string snapshot_key_of(const Services& services, const Template& entry);

/// What saved states depend on here, as one digest: VMM, processor, kernel, init. Nodes of an equal one continue each
/// other's. Empty where no VMM works.
std::string machine_of(const Services& services);

/// What a sandbox of the template is before anything of it is made: its image, root and node, the template's own disk.
void stand_on(const Services& services, const Template& entry, Sandbox& sandbox);

/// Has the sandbox begin where a template's snapshot was taken.
void begin_from(const SavedState& saved, BootRequest& request);

/// What will be saved here of a guest of that size, in `folder`. Needs a driver.
SavedState state_to_save(const Services& services, const Resources& size, std::filesystem::path folder);

/// Whether this node's driver may restore it. Needs a driver. @errors snapshot_invalid
Result<void> check_fits_here(const Services& services, const SavedState& saved);

/// The template's snapshot of that size, if it may be restored here and now. Blocking at its first use.
/// @errors boot_path_unavailable: there is none · snapshot_invalid: it does not fit, or is broken
Result<SavedState> usable_snapshot(const Services& services, const Template& entry, const Resources& size);

/// Notes that other nodes have snapshots of that key too (its folder's name): from here on none is made under it, for
/// another node's of the same size would have the same name and another content. Blocking, briefly.
void note_shared(const std::filesystem::path& key_folder);
bool is_shared(const Services& services, const std::string& key);

/// Whether a sandbox stands on a snapshot's folder, or somebody holds it.
bool snapshot_in_use(const Services& services, const std::filesystem::path& folder);

/// Removes the snapshots that are no template's any more and that nobody uses. Blocking.
void collect_snapshots(const Services& services);

}  // namespace nanobox
