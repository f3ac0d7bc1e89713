#include "pipeline/boot/vmm/vm_death_cause.hpp"

namespace nanobox {

namespace {

constexpr std::string_view kPanic = "Kernel panic - not syncing";

bool has(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

/// Whether the guest's kernel gave up for want of memory, as Linux words that.
bool panicked_for_memory(std::string_view console) {
  const auto at = console.rfind(kPanic);
  if (at == std::string_view::npos) return false;
  const auto line = console.substr(at, console.find('\n', at) - at);
  for (const std::string_view words : {"Out of memory", "out of memory", "System is deadlocked on memory"})
    if (has(line, words)) return true;
  // Its first process was what there was to kill.
  return has(line, "Attempted to kill init") && has(console.substr(0, at), "Out of memory: Killed process 1 ");
}

}  // namespace

DeathCause cause_of(const VmExit& exit, std::uint64_t oom_kills, std::string_view console) {
  if (exit.guest_panicked) return panicked_for_memory(console) ? DeathCause::out_of_memory : DeathCause::kernel_panic;
  return oom_kills > 0 ? DeathCause::out_of_memory : DeathCause::vm_exit;
}

}  // namespace nanobox
