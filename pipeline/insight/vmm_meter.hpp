#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "pipeline/insight/sandbox_death.hpp"
#include "pipeline/insight/template_usage.hpp"

namespace nanobox {

/// A VMM of this node, and for which template it runs.
struct MeteredVmm {
  std::string vm_id;  ///< the sandbox', or the pool's name for it
  std::int32_t pid = 0;
  std::uint64_t start_time_ticks = 0;  ///< /proc/PID/stat field 22: another process of that pid is not meant
  std::string owner;
  std::string template_name;  ///< both empty: none yet, it is in stock
};

/// Measures what VMMs take, summed by template. Processor time is read of every VMM at each measurement; memory, whose
/// reading walks a VMM's page tables, only of those for which the budget lasts, the longest unread first: the others
/// keep what was read last. Not thread-safe.
class VmmMeter {
public:
  /// @param memory_budget  processor time that one measurement may take for reading memory
  explicit VmmMeter(std::chrono::microseconds memory_budget = std::chrono::milliseconds{100},
                    std::filesystem::path proc = "/proc");

  /// Blocks: reads some files of /proc for each VMM.
  /// @param vmms   all that there are now
  /// @param ended  the sandboxes that ended since the last measurement, with what they had used in the end
  /// @returns by owner and name; templates without VMMs too, for the processor time that theirs took
  std::vector<TemplateUsage> measure(const std::vector<MeteredVmm>& vmms, const std::vector<SandboxDeath>& ended = {});

private:
  using Process = std::pair<std::int32_t, std::uint64_t>;  // pid, start
  using Template = std::pair<std::string, std::string>;    // owner, name
  struct Seen {
    std::string vm_id;
    Template of;
    std::uint64_t cpu_us = 0;        // since it was first counted
    std::uint64_t uncounted_us = 0;  // before
    std::uint64_t pss_bytes = 0;
    std::uint64_t memory_read_in = 0;  // the measurement; 0: never
    std::uint64_t present_in = 0;      // the measurement
  };
  void read_cpu(const MeteredVmm& vmm);
  void read_memory();
  void leave_out_ended(const std::vector<SandboxDeath>& ended);

  const std::chrono::microseconds memory_budget_;
  const std::filesystem::path proc_;
  std::uint64_t measurement_ = 0;
  std::map<Process, Seen> seen_;
  std::map<Template, std::uint64_t> ended_cpu_us_;
};

/// At most `most` of them, those with the most VMMs; the rest is summed up as one without an owner that is named
/// "other".
std::vector<TemplateUsage> largest(std::vector<TemplateUsage> usage, std::size_t most);

}  // namespace nanobox
