#include "pipeline/metrics/sandbox_metrics.hpp"

namespace nanobox {

namespace {

double seconds(std::int64_t milliseconds) {
  return static_cast<double>(milliseconds) / 1e3;
}

}  // namespace

SandboxMetrics::SandboxMetrics(prometheus::Registry& registry, WallTime begin)
    : begin_(begin),
      boots_(registry, "nanobox_sandbox_boots_total", "Sandboxes that began to run, by how they did.", {"boot_path"}),
      ended_(registry, "nanobox_sandboxes_ended_total", "Sandboxes that ended, by why they did.", {"cause"}),
      pool_takes_(registry, "nanobox_pool_takes_total", "Sandboxes that came from a warm pool.", {}),
      pool_misses_(registry, "nanobox_pool_misses_total",
                   "Sandboxes of a template with a warm pool that did not come from it.", {}),
      boot_durations_(registry, "nanobox_boot_duration_seconds",
                      "From the request for a sandbox to its guest being ready, by how it began.", {"boot_path"}),
      restore_durations_(registry, "nanobox_restore_duration_seconds",
                         "From the request to resume a paused sandbox to its guest going on.", {}) {
  for (const auto* path : {"cold", "snapshot", "pool", "fork"}) {
    boots_({boot_paths_(path)});
    boot_durations_({path});
  }
  for (int cause = 1; cause <= static_cast<int>(DeathCause::failed); ++cause)
    ended_({to_string(static_cast<DeathCause>(cause))});
  restore_durations_({});
  pool_takes_({});
  pool_misses_({});
}

void SandboxMetrics::take(const Sandbox& sandbox, const std::function<bool(const Sandbox&)>& has_pool) {
  const std::lock_guard lock(mutex_);
  const Known now{sandbox.status, sandbox.boot_time_ms, sandbox.restore_time_ms};
  const auto [entry, first] = known_.try_emplace(sandbox.id, now);
  const auto before = std::exchange(entry->second, now);
  if (sandbox.status != SandboxStatus::running) return;
  if (before.status == SandboxStatus::resuming) {
    // One that just came back says so as of any boot; a moment later it has its first boot's time again.
    const auto took = now.restore_time_ms != before.restore_time_ms || now.boot_time_ms == before.boot_time_ms
                          ? now.restore_time_ms
                          : now.boot_time_ms;
    if (took) restore_durations_({}).Observe(seconds(*took));
    return;
  }
  const bool begins = before.status == SandboxStatus::creating || (first && sandbox.created_at >= begin_);
  if (!begins) return;
  const auto path = boot_paths_(sandbox.boot_path);
  boots_({path}).Increment();
  if (sandbox.boot_path == "pool") pool_takes_({}).Increment();
  // A copy never asks a pool.
  const bool might_have = sandbox.boot_path != "pool" && sandbox.boot_path != "fork";
  if (might_have && has_pool && has_pool(sandbox)) pool_misses_({}).Increment();
  if (sandbox.boot_time_ms) boot_durations_({path}).Observe(seconds(*sandbox.boot_time_ms));
}

void SandboxMetrics::gone(const std::string& id) {
  const std::lock_guard lock(mutex_);
  known_.erase(id);
}

void SandboxMetrics::take(const SandboxDeath& death) {
  const std::lock_guard lock(mutex_);
  ended_({to_string(death.cause)}).Increment();
}

}  // namespace nanobox
