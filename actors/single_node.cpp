#include "actors/single_node.hpp"

#include <sys/statvfs.h>

#include <filesystem>

namespace nanobox {

namespace {

constexpr std::uint64_t kMiB = 1U << 20;

/// Whether `wanted` fits beside `reserved`: guests' memory within the budget, disks within the overcommitted space.
Result<void> admit(const Services& services, const std::map<std::string, Resources>& reserved,
                   const Resources& wanted) {
  const auto refuse = [](std::string reason, std::string mend) {
    return fail({.code = ErrorCode::no_capacity,
                 .attempted = "place a sandbox",
                 .subject = "",
                 .reason = std::move(reason),
                 .mend = std::move(mend),
                 .retry_after_sec = 5});
  };
  std::uint64_t memory_mb = wanted.memory_mb, disk_mb = wanted.disk_mb;
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
    if (sandbox->status != SandboxStatus::failed) self->state.reserved[sandbox->id] = sandbox->resources;
  return {
      [self](place_atom, const BootCall& call, const BootRequest& request) -> caf::result<PlacedBoot> {
        auto& state = self->state;
        if (!state.services->driver) return to_caf(state.services->driver_problem);
        if (auto admitted = admit(*state.services, state.reserved, request.sandbox.resources); !admitted)
          return to_caf(admitted.error());
        state.reserved[call.sandbox_id] = request.sandbox.resources;
        return PlacedBoot{.request = request, .node_id = state.services->node_id};
      },
      [self](adopt_atom, const Sandbox& sandbox) { self->state.reserved[sandbox.id] = sandbox.resources; },
      [self](undo_atom, const std::string& sandbox_id) -> caf::result<void> {
        self->state.reserved.erase(sandbox_id);
        return caf::unit;
      },
  };
}

IpAllocatorActor::behavior_type ip_allocator(IpAllocatorActor::stateful_pointer<NoNetworkState>) {
  return {
      [](address_atom, const BootCall&, const PlacedBoot& placed) {
        return AddressedBoot{.placed = placed, .ip = std::nullopt};
      },
      [](undo_atom, const std::string&) -> caf::result<void> { return caf::unit; },
  };
}

NetworkKeeperActor::behavior_type network_keeper(NetworkKeeperActor::stateful_pointer<NoNetworkState>) {
  return {
      [](network_atom, const BootCall&, const AddressedBoot& addressed) -> caf::result<NetworkedBoot> {
        const auto& mode = addressed.placed.request.sandbox.network_mode;
        if (mode != "isolated")
          return to_caf({.code = ErrorCode::network_unavailable,
                         .attempted = "give a sandbox network mode",
                         .subject = mode,
                         .reason = "this node makes no network interfaces",
                         .mend = "use mode isolated"});
        return NetworkedBoot{.addressed = addressed};
      },
      [](undo_atom, const std::string&) -> caf::result<void> { return caf::unit; },
  };
}

}  // namespace nanobox
