#include "actors/ip_allocator.hpp"

#include <spdlog/spdlog.h>

#include "pipeline/store/node_store.hpp"

namespace nanobox {

namespace {

using Self = IpAllocatorActor::stateful_pointer<IpAllocatorState>;
using Clock = AddressPool::Clock;

constexpr std::string_view kLease = "ip";
constexpr std::chrono::seconds kRest{10};

/// The addresses of the VMs that are there already.
Result<void> load_leases(Self self) {
  auto& state = self->state;
  for (const auto& lease : NANOBOX_TRY(state.services->node_store->leases(kLease))) {
    const auto address = static_cast<std::uint32_t>(lease.number);
    if (auto reserved = state.pool->reserve(address); !reserved) {
      spdlog::warn("{}", describe(reserved.error()));  // the subnet is another one now
      NANOBOX_TRY(state.services->node_store->release(kLease, lease.number));
      continue;
    }
    state.taken[lease.holder] = address;
  }
  return {};
}

Result<std::uint32_t> take(Self self, const Sandbox& sandbox) {
  auto& state = self->state;
  const auto now = Clock::now();
  std::optional<std::uint32_t> address;
  if (sandbox.ip)
    if (const auto former = parse_ipv4(*sandbox.ip); former && state.pool->reserve(*former)) address = former;
  if (!address) address = NANOBOX_TRY(state.pool->take(now));
  if (auto leased = state.services->node_store->lease(kLease, *address, *address, sandbox.id); !leased) {
    state.pool->release(*address, now);
    return fail(leased.error());
  }
  state.taken[sandbox.id] = *address;
  return *address;
}

/// None for what needs none, or can have none.
Result<std::optional<std::string>> address_for(Self self, const std::string& id, const BootRequest& request) {
  auto& state = self->state;
  // What only makes a template talks to nobody.
  if (!state.pool || request.purpose == BootPurpose::snapshot) return std::nullopt;
  const auto held = state.taken.find(id);
  if (held == state.taken.end()) return ipv4_text(NANOBOX_TRY(take(self, request.sandbox)));
  // What ended its VM may have forgotten the lease with it.
  (void)state.services->node_store->lease(kLease, held->second, held->second, id);
  return ipv4_text(held->second);
}

}  // namespace

IpAllocatorActor::behavior_type ip_allocator(Self self, SharedServices services) {
  self->state.services = std::move(services);
  if (self->state.services->network) {
    self->state.pool.emplace(self->state.services->address_part, kRest);
    if (auto loaded = load_leases(self); !loaded) spdlog::error("{}", describe(loaded.error()));
  }
  return {
      [self](address_atom, const BootCall& call, const PlacedBoot& placed) -> caf::result<AddressedBoot> {
        auto address = address_for(self, call.sandbox_id, placed.request);
        if (!address) return to_caf(address.error());
        AddressedBoot addressed{.placed = placed};
        auto& sandbox = addressed.placed.request.sandbox;
        const auto former = std::exchange(sandbox.ip, std::move(*address));
        sandbox.former_ip = former == sandbox.ip ? std::nullopt : former;
        return addressed;
      },
      [self](rename_atom, const std::string& from, const std::string& to) {
        auto lease = self->state.taken.extract(from);
        if (lease.empty()) return;
        lease.key() = to;
        self->state.taken.insert(std::move(lease));
      },
      [self](undo_atom, const std::string& id) -> caf::result<void> {
        auto& state = self->state;
        const auto lease = state.taken.extract(id);
        if (lease.empty()) return caf::unit;
        state.pool->release(lease.mapped(), Clock::now());
        if (auto released = state.services->node_store->release(kLease, lease.mapped()); !released)
          return to_caf(released.error());
        return caf::unit;
      },
  };
}

}  // namespace nanobox
