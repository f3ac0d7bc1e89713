#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "pipeline/board.hpp"
#include "pipeline/boot/vmm/vm_spent.hpp"
#include "pipeline/insight/sandbox_death.hpp"

namespace nanobox {

/// What is left of a sandbox' VM that has ended.
struct VmRemains {
  std::optional<DeathCause> cause = {};  ///< of an end by itself; none: it was ended
  std::string reason = {};               ///< of that, in words
  std::string console = {};              ///< its last lines
  std::optional<VmSpent> spent = {};     ///< none: nobody saw its end
  std::uint64_t disk_bytes = 0;          ///< that its overlay took
  bool operator==(const VmRemains&) const = default;
};

/// By sandbox id: left there by the VM's supervisor before it tells of the end, taken by the sandbox registry.
using VmRemainsBoard = std::shared_ptr<Board<VmRemains>>;

/// Bytes that a file takes on its disk; 0 where it cannot be asked.
std::uint64_t disk_bytes_of(const std::filesystem::path& file);

// A paused sandbox has no VM: what its last one left lies beside its saved state. Blocking, briefly.

/// A folder that is not there any more is no failure. @errors io_failed
Result<void> write_remains(const std::filesystem::path& saved_state, const VmRemains& remains);
/// Empty where there are none.
VmRemains read_remains(const std::filesystem::path& saved_state);

/// Of two VMs of one sandbox: times add up, of peaks the higher counts.
VmSpent together(const VmSpent& before, const VmSpent& after);

}  // namespace nanobox
