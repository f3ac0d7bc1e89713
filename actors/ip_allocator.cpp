#include "actors/ip_allocator.hpp"

#include <algorithm>
#include <set>

#include "config/log.hpp"
#include "pipeline/store/node_store.hpp"

namespace nanobox {

namespace {

using Self = IpAllocatorActor::stateful_pointer<IpAllocatorState>;
using Clock = AddressParts::Clock;

constexpr std::string_view kLease = "ip";
constexpr std::string_view kPart = "subnet_part";
constexpr std::chrono::seconds kRest{10};
/// Another part comes with the second heartbeat at the latest.
constexpr std::chrono::seconds kPartComes{5};

/// The first part is what the node joined with; those that it got later are known before its control plane is there.
Result<void> load_parts(Self self) {
  auto& state = self->state;
  auto parts = state.pool->open();
  for (const auto& kept : NANOBOX_TRY(state.services->node_store->leases(kPart)))
    if (const auto part = parse_subnet(kept.holder); part && std::ranges::find(parts, *part) == parts.end())
      parts.push_back(*part);
  state.pool->set(parts);
  return {};
}

Result<void> keep_parts(Self self, const std::vector<Ipv4Subnet>& parts) {
  auto& store = *self->state.services->node_store;
  std::set<std::string> kept;
  for (const auto& old : NANOBOX_TRY(store.leases(kPart))) {
    kept.insert(old.holder);
    const auto part = parse_subnet(old.holder);
    if (!part || std::ranges::find(parts, *part) == parts.end()) NANOBOX_TRY(store.release(kPart, old.number));
  }
  for (const auto& part : parts)
    if (!kept.contains(to_string(part))) NANOBOX_TRY(store.lease(kPart, part.base, part.base, to_string(part)));
  return {};
}

/// The addresses of the VMs that are there already.
Result<void> load_leases(Self self) {
  auto& state = self->state;
  for (const auto& lease : NANOBOX_TRY(state.services->node_store->leases(kLease))) {
    const auto address = static_cast<std::uint32_t>(lease.number);
    if (auto reserved = state.pool->reserve(address); !reserved) {
      log_warn(LogComponent::network, {}, "{}", describe(reserved.error()));  // the subnet is another one now
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

Result<AddressedBoot> addressed(Self self, const std::string& id, const PlacedBoot& placed) {
  auto address = NANOBOX_TRY(address_for(self, id, placed.request));
  AddressedBoot with{.placed = placed};
  auto& sandbox = with.placed.request.sandbox;
  const auto former = std::exchange(sandbox.ip, std::move(address));
  sandbox.former_ip = former == sandbox.ip ? std::nullopt : former;
  return with;
}

/// Those that wait are served, or told that there is none: where none will come, or they have waited long enough.
void serve_waiting(Self self) {
  const auto now = Clock::now();
  for (auto& waiting : std::exchange(self->state.waiting, {})) {
    auto served = addressed(self, waiting.id, waiting.placed);
    if (!served && served.error().code == ErrorCode::no_address && self->state.may_grow && now < waiting.until)
      self->state.waiting.push_back(std::move(waiting));
    else
      deliver_result(waiting.promise, std::move(served));
  }
}

void take_parts(Self self, const std::vector<std::string>& texts, bool may_grow) {
  auto& state = self->state;
  state.may_grow = may_grow;
  std::vector<Ipv4Subnet> parts;
  for (const auto& text : texts)
    if (const auto part = parse_subnet(text)) parts.push_back(*part);
  if (!state.pool || parts.empty()) return;
  if (parts != state.pool->open()) {
    // Not given from before it is known after a restart.
    if (auto kept = keep_parts(self, parts); !kept)
      return log_error(LogComponent::network, {}, "{}", describe(kept.error()));
    state.pool->set(parts);
  }
  serve_waiting(self);
}

}  // namespace

IpAllocatorActor::behavior_type ip_allocator(Self self, SharedServices services) {
  self->state.services = std::move(services);
  if (self->state.services->network) {
    self->state.pool.emplace(std::vector{self->state.services->address_part}, kRest);
    if (auto loaded = load_parts(self); !loaded) log_error(LogComponent::network, {}, "{}", describe(loaded.error()));
    if (auto loaded = load_leases(self); !loaded) log_error(LogComponent::network, {}, "{}", describe(loaded.error()));
  }
  return {
      [self](address_atom, const BootCall& call, const PlacedBoot& placed) -> caf::result<AddressedBoot> {
        auto& state = self->state;
        auto with = addressed(self, call.sandbox_id, placed);
        if (with || with.error().code != ErrorCode::no_address || !state.may_grow) return reply(std::move(with));
        auto promise = self->make_response_promise<AddressedBoot>();
        self->delayed_send(self, kPartComes, tick_atom_v);
        state.waiting.push_back(
            {.id = call.sandbox_id, .placed = placed, .promise = promise, .until = Clock::now() + kPartComes});
        return promise;
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
      [self](address_atom) -> caf::result<std::uint32_t, std::uint32_t> {
        auto& pool = self->state.pool;
        if (!pool) return {0U, 0U};
        return {pool->size(), pool->free(Clock::now())};
      },
      [self](address_atom, const std::vector<std::string>& parts, bool may_grow) { take_parts(self, parts, may_grow); },
      [self](tick_atom) { serve_waiting(self); },
  };
}

}  // namespace nanobox
