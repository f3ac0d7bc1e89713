#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "config/error.hpp"
#include "config/unique_fd.hpp"
#include "pipeline/boot/memory/page_buffer.hpp"
#include "pipeline/boot/memory/page_run.hpp"

namespace nanobox {

/// The memory of a guest, inside its VMM, which maps a memory file privately: read from outside. The VMM must be held
/// (its pidfd) for as long as this is used, and stopped for a copy that is of one moment. Move-only; all calls block.
class GuestMemory {
public:
  /// Finds where the VMM maps the memory. @errors vmm_failed · io_failed (the memory file)
  static Result<GuestMemory> open(pid_t vmm, const std::filesystem::path& memory_file, std::uint64_t memory_bytes);

  /// The pages the guest wrote, exactly, in as many runs as it takes: those who write them join runs, with pages from
  /// files, so that a guest that wrote here and there is not stopped for the copy of what lies between.
  /// @errors vmm_failed
  Result<std::vector<PageRun>> dirty_pages() const;

  /// Copies the pages of `runs`, packed in order, into `buffer`, which gets their size; it should have that room
  /// beforehand. From two threads where it is much. @errors vmm_failed · no_capacity
  Result<void> read(std::span<const PageRun> runs, PageBuffer& buffer) const;

  std::uint64_t address() const noexcept { return address_; }  ///< in the VMM
  std::uint64_t memory_bytes() const noexcept { return memory_bytes_; }

private:
  GuestMemory(pid_t vmm, UniqueFd pagemap, std::uint64_t address, std::uint64_t memory_bytes)
      : vmm_(vmm), pagemap_(std::move(pagemap)), address_(address), memory_bytes_(memory_bytes) {}

  pid_t vmm_;
  UniqueFd pagemap_;
  std::uint64_t address_;
  std::uint64_t memory_bytes_;
};

}  // namespace nanobox
