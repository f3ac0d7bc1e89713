#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

#include "config/error.hpp"
#include "pipeline/boot/vmm/driver.hpp"

namespace nanobox {

/// A running VM's disk is frozen where it is: what it wrote so far becomes a layer, and a new overlay takes the rest.
struct DiskFreeze {
  std::filesystem::path overlay;  ///< the VM's own, now; an empty one lies there afterwards
  std::filesystem::path layer;    ///< where what it wrote goes; on the same file system
};

/// What is wanted of a guest at one instant. Its processes are frozen (QUIESCE) before and thawed by the caller.
struct CaptureOrder {
  std::filesystem::path memory_base;   ///< the file that the VM maps
  std::filesystem::path memory_layer;  ///< the layer over it that the VM was given; empty: none
  std::uint64_t memory_bytes = 0;
  std::filesystem::path folder;             ///< exists; `state` and `pages`, or `mem`, are made in it
  bool whole_memory = false;                ///< `mem`, that stands on nothing, instead of the `pages` that differ
  std::optional<DiskFreeze> freeze;         ///< nothing: the disk stays as it is
  bool goes_on = true;                      ///< the vCPUs run afterwards; else the VM stands still, to be ended
  bool durable = false;                     ///< synced to the disk before this returns, `disk` as well
  std::vector<std::filesystem::path> disk;  ///< the VM's overlays, bottom first, its own last
};

/// What it took; times in microseconds.
struct Captured {
  std::int64_t pause_us = 0;  ///< no vCPU ran: from `stop` to `cont`
  std::int64_t stop_us = 0, state_us = 0, disk_us = 0, scan_us = 0, copy_us = 0, cont_us = 0, write_us = 0;
  std::uint64_t dirty_bytes = 0;    ///< pages that the VM wrote
  std::uint64_t written_bytes = 0;  ///< in `folder`
};

/// Saves a VM's state, memory and disk as they are at one instant. On failure the VM runs on (where that can be said)
/// and nothing is left in `folder`; a disk that was frozen before stays so only together with its renamed files, or not
/// at all. Blocking: worker threads only.
/// @errors vmm_failed · guest_gone · disk_full · io_failed
Result<Captured> capture(Vm& vm, const CaptureOrder& order);

}  // namespace nanobox
