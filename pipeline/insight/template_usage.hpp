#pragma once

#include <cstdint>
#include <string>

namespace nanobox {

/// What the VMMs of one template take on a node: of its sandboxes and of its warm pool together.
struct TemplateUsage {
  std::string owner;
  std::string template_name;
  std::uint64_t vms = 0;
  std::uint64_t pss_bytes = 0;  ///< memory, what is shared divided among those that share it (proc(5), smaps_rollup)
  std::uint64_t cpu_us = 0;     ///< of all its VMMs since the daemon's start, those that have ended included
  bool operator==(const TemplateUsage&) const = default;
};

}  // namespace nanobox
