#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "config/error.hpp"
#include "config/unique_fd.hpp"
#include "pipeline/boot/vmm/driver.hpp"
#include "pipeline/boot/vmm/qmp_session.hpp"

namespace nanobox {

/// A QEMU's disk is a raw node named "disk", which the guest's device holds, over its overlays: number 0 is what it
/// was started with, each freeze adds one. The raw node stays while what is below it changes.
std::string overlay_node(unsigned number);

/// Memory stays in its file, and the end of a migration is told.
inline constexpr const char* qmp_state_capabilities =
    R"({"capabilities":[{"capability":"x-ignore-shared","state":true},{"capability":"events","state":true}]})";

/// Appends to `calls` what adds overlay `number`, written through `file`.
/// @param below  the node it stands on; nothing: it is put over another one later
void add_overlay(std::vector<QmpSession::Call>& calls, unsigned number, UniqueFd file,
                 const std::optional<std::string>& below);

/// The read-only part of a disk: a raw image and qcow2 layers over it, bottom first. Its nodes are numbered from there.
struct DiskBase {
  std::filesystem::path image;
  std::vector<std::filesystem::path> layers = {};
};

/// Appends what adds the rest of `base`. @param there  how many of its nodes exist already, of which the image is the
/// first
/// @errors snapshot_invalid: a file cannot be opened
Result<void> add_base(std::vector<QmpSession::Call>& calls, const DiskBase& base, std::size_t there);

/// Appends what makes overlay 0, over the topmost of `layers` layers, the guest's disk.
/// @errors snapshot_invalid: it cannot be opened
Result<void> plug_overlay(std::vector<QmpSession::Call>& calls, const std::filesystem::path& overlay,
                          std::size_t layers);

}  // namespace nanobox
