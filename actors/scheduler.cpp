#include "actors/scheduler.hpp"

#include <sys/statvfs.h>

#include <filesystem>

namespace nanobox {

namespace {

constexpr std::uint64_t kMiB = 1U << 20;

/// Whether `count` of `wanted` fit beside `reserved`: guests' memory within the budget, disks within the overcommitted
/// space.
Result<void> admit(const Services& services, const std::map<std::string, Resources>& reserved, const Resources& wanted,
                   std::uint64_t count = 1) {
  const auto refuse = [](std::string reason, std::string mend) {
    return fail({.code = ErrorCode::no_capacity,
                 .attempted = "place a sandbox",
                 .subject = "",
                 .reason = std::move(reason),
                 .mend = std::move(mend),
                 .retry_after_sec = 5});
  };
  std::uint64_t memory_mb = count * wanted.memory_mb, disk_mb = count * wanted.disk_mb;
  for (const auto& [id, resources] : reserved) {
    memory_mb += resources.memory_mb;
    disk_mb += resources.disk_mb;
  }
  if (services.memory_budget_mb != 0 && memory_mb > services.memory_budget_mb)
    return refuse("all guests together would have " + std::to_string(memory_mb) + " MiB, and this node gives " +
                      std::to_string(services.memory_budget_mb) + " MiB",
                  "end other sandboxes or ask for less memory_mb");
  struct statvfs disk {};
  if (::statvfs(services.sandboxes_folder.c_str(), &disk) == 0) {
    const auto free_mb = static_cast<std::uint64_t>(disk.f_bavail) * disk.f_frsize / kMiB;
    const auto total_mb = static_cast<std::uint64_t>(disk.f_blocks) * disk.f_frsize / kMiB;
    if (free_mb < services.min_free_mb)
      return refuse("only " + std::to_string(free_mb) + " MiB are free in " + services.sandboxes_folder.string(),
                    "free space, or lower [agent] min_free_mb");
    if (static_cast<double>(disk_mb) > services.disk_overcommit * static_cast<double>(total_mb))
      return refuse("all disks together would have " + std::to_string(disk_mb) + " MiB",
                    "end other sandboxes, ask for less disk_mb or raise [agent] disk_overcommit");
  }
  return {};
}

}  // namespace

SchedulerActor::behavior_type scheduler(SchedulerActor::stateful_pointer<SchedulerState> self,
                                        SharedServices services) {
  self->state.services = std::move(services);
  for (const auto& sandbox : self->state.services->boards->sandboxes.all())
    if (sandbox->status != SandboxStatus::failed && sandbox->status != SandboxStatus::paused)
      self->state.reserved[sandbox->id] = sandbox->resources;
  return {
      [self](place_atom, const BootCall& call, const BootRequest& request) -> caf::result<PlacedBoot> {
        auto& state = self->state;
        if (!state.services->driver) return to_caf(state.services->driver_problem);
        if (auto admitted = admit(*state.services, state.reserved, request.sandbox.resources); !admitted)
          return to_caf(admitted.error());
        state.reserved[call.sandbox_id] = request.sandbox.resources;
        return PlacedBoot{.request = request, .node_id = state.services->node_id, .detail = request.placement};
      },
      [self](place_atom, const Sandbox& sandbox, std::uint32_t count) -> caf::result<void> {
        if (auto admitted = admit(*self->state.services, self->state.reserved, sandbox.resources, count); !admitted)
          return to_caf(admitted.error());
        return caf::unit;
      },
      [self](adopt_atom, const Sandbox& sandbox) { self->state.reserved[sandbox.id] = sandbox.resources; },
      [self](rename_atom, const std::string& from, const std::string& to) {
        auto share = self->state.reserved.extract(from);
        if (share.empty()) return;
        share.key() = to;
        self->state.reserved.insert(std::move(share));
      },
      [self](undo_atom, const std::string& sandbox_id) -> caf::result<void> {
        self->state.reserved.erase(sandbox_id);
        return caf::unit;
      },
  };
}

}  // namespace nanobox
