#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "config/clock.hpp"
#include "config/error.hpp"

namespace nanobox {

/// A guest at rest: a folder with `state`, `mem` or `pages`, maybe `disk.qcow2`, and `manifest.json`, which says what
/// it fits and how its files must look. The folder appears under its final name only when it is whole.
struct SavedState {
  std::filesystem::path folder;
  std::string fingerprint;  ///< VmmDriver::fingerprint of what saved it
  std::uint64_t tsc_khz = 0;
  std::uint32_t vcpu = 1;
  std::uint32_t memory_mb = 0;
  std::uint64_t disk_bytes = 0;  ///< the guest's disk, virtual size
  WallTime taken_at{};

  std::filesystem::path state() const { return folder / "state"; }
  std::filesystem::path memory() const { return folder / "mem"; }       ///< of a template's: stands on nothing
  std::filesystem::path pages() const { return folder / "pages"; }      ///< of a sandbox': over its base
  std::filesystem::path disk() const { return folder / "disk.qcow2"; }  ///< of a template's
};

/// Writes `manifest.json` with the checksums of all that is in the folder. Blocking: reads it all.
/// @param durable  synced
Result<void> write_manifest(const SavedState& saved, bool durable);

/// Reads the manifest and looks at the files' sizes. @errors snapshot_invalid
Result<SavedState> read_saved_state(const std::filesystem::path& folder);

/// Compares every file with its checksum. Blocking: reads it all. @errors snapshot_invalid, with the file's name
Result<void> verify_saved_state(const SavedState& saved);

/// Whether a driver of that fingerprint on a host of that TSC may restore it: an emulated guest counts time by it, so
/// it may differ by what measuring differs. @errors snapshot_invalid: says what differs
Result<void> check_fits(const SavedState& saved, const std::string& fingerprint, std::uint64_t tsc_khz);

}  // namespace nanobox
