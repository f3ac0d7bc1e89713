#include "actors/pool_keeper.hpp"

#include <algorithm>

#include "actors/boot_run.hpp"
#include "actors/refill_back_off.hpp"
#include "actors/template_snapshot.hpp"
#include "actors/vmm_stock.hpp"
#include "config/id.hpp"
#include "config/log.hpp"

namespace nanobox {

namespace {

using Self = PoolKeeperActor::stateful_pointer<PoolKeeperState>;
using Pool = PoolKeeperState::Pool;
using Member = PoolKeeperState::Member;
using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds kEndDeadline{60};
constexpr std::chrono::seconds kTakeDeadline{30};
constexpr std::chrono::seconds kPingDeadline{5};
/// A take is answered before the next VM takes a core.
constexpr std::chrono::milliseconds kAfterTake{20};
constexpr std::uint32_t kAtOnce = 2;

Error none_ready(const Sandbox& wanted, std::string reason) {
  return {.code = ErrorCode::boot_path_unavailable,
          .attempted = "take a sandbox from the pool of",
          .subject = wanted.template_name,
          .reason = std::move(reason),
          .mend = "use boot auto, or give the template an entry in [[pool.templates]]"};
}

void tell_board(Self self, const Pool& pool) {
  const auto slash = pool.key.rfind('/');
  self->state.services->boards->pools.publish(pool.key, {.owner = pool.key.substr(0, slash),
                                                         .template_name = pool.key.substr(slash + 1),
                                                         .ready = static_cast<std::uint32_t>(pool.ready.size()),
                                                         .min_ready = pool.min_ready,
                                                         .max_ready = pool.max_ready,
                                                         .problem = pool.problem});
}

void end_if_idle(Self self) {
  auto& state = self->state;
  if (!state.stopping || !state.leaving.empty()) return;
  for (const auto& [key, pool] : state.pools)
    if (!pool.filling.empty()) return;
  for (auto& promise : std::exchange(state.draining, {})) deliver_done(promise);
}

/// Ends a VM that no sandbox came of; then `next`.
void dismiss(
    Self self, const std::string& id, std::function<void()> next = [] {}) {
  self->state.leaving.insert(id);
  const auto over = [self, id, next = std::move(next)] {
    release_place(self->state.concerns, id);
    self->state.leaving.erase(id);
    self->state.held.erase(id);
    collect_snapshots(*self->state.services);
    next();
    end_if_idle(self);
  };
  self->request(self->state.concerns.node_agent, kEndDeadline, end_atom_v, id)
      .then([over] { over(); },
            [over](caf::error& error) {
              log_error(LogComponent::pool, {}, "{}", describe(from_caf(error, "end a pool's VM")));
              over();
            });
}

/// What a VM of the pool is to be by now; nothing while its template cannot serve.
std::optional<BootRequest> member_of(const Services& services, const Pool& pool) {
  const auto entry = services.boards->templates.find(pool.key);
  if (!entry || !entry->usable() || !services.driver) return std::nullopt;
  BootRequest request{.sandbox = {}, .purpose = BootPurpose::pool, .received = Clock::now()};
  auto& vm = request.sandbox;
  stand_on(services, *entry, vm);
  vm.resources = entry->resources;
  if (const auto saved = usable_snapshot(services, *entry, vm.resources)) begin_from(*saved, request);
  return request;
}

/// A newer version is on its way: what there is serves on, but nothing is made that goes at once.
bool is_changing(const Services& services, const Pool& pool) {
  const auto entry = services.boards->templates.find(pool.key);
  return entry && (entry->status == TemplateStatus::queued || entry->status == TemplateStatus::running);
}

bool same_version(const Sandbox& a, const Sandbox& b) {
  return a.rootfs_identity == b.rootfs_identity && a.resources == b.resources &&
         a.lineage.snapshot == b.lineage.snapshot && a.lineage.disk_layers == b.lineage.disk_layers;
}

/// MiB of guest memory in all pools.
std::uint64_t memory_in_use(const PoolKeeperState& state) {
  std::uint64_t sum = 0;
  for (const auto& [key, pool] : state.pools) {
    for (const auto& member : pool.ready) sum += member.vm.resources.memory_mb;
    for (const auto& [id, request] : pool.filling) sum += request.sandbox.resources.memory_mb;
  }
  return sum;
}

void start_member(Self self, Pool& pool, BootRequest request) {
  auto& state = self->state;
  request.sandbox.id = make_id("pl");
  const auto id = request.sandbox.id;
  if (request.from) {
    state.held[id] = state.services->snapshots->hold(request.sandbox.lineage.snapshot);
    self->send(state.stock, keep_atom_v, stock_shape(request), 1U);
  }
  const auto stages = PoolPipeline::describe();
  const auto owner = pool.key.substr(0, pool.key.rfind('/'));
  auto record = make_run("boot", id, owner, state.services->node_id, {stages.begin(), stages.end()});
  self->spawn(pool_run, std::move(record), state.concerns, request, state.recorder, BootEndedSink(self));
  pool.filling.emplace(id, std::move(request));
}

void fill(Self self, Pool& pool) {
  auto& state = self->state;
  if (state.stopping || pool.not_before > Clock::now() || is_changing(*state.services, pool)) return;
  const auto request = member_of(*state.services, pool);
  // Members of an older version, or of a template that is gone, serve nobody.
  for (auto it = pool.ready.begin(); it != pool.ready.end();) {
    if (request && same_version(it->vm, request->sandbox)) {
      ++it;
      continue;
    }
    dismiss(self, it->id);
    it = pool.ready.erase(it);
  }
  if (state.resting)
    for (auto& member : std::exchange(pool.ready, {})) dismiss(self, member.id);
  if (request && !state.resting) {
    pool.problem.clear();
    const auto wanted = std::min(pool.min_ready, pool.max_ready);
    while (pool.ready.size() + pool.filling.size() < wanted && pool.filling.size() < kAtOnce) {
      if (memory_in_use(state) + request->sandbox.resources.memory_mb > state.services->pool.memory_max_mb) {
        pool.problem = "[pool] memory_max_mb is reached";
        break;
      }
      start_member(self, pool, *request);
    }
  }
  tell_board(self, pool);
}

/// One pool for each template of a name that [pool] has an entry for, whoever owns it.
void find_templates(Self self) {
  auto& state = self->state;
  for (const auto& entry : state.services->boards->templates.all())
    for (const auto& wanted : state.services->pool.templates) {
      if (wanted.name != entry->name) continue;
      auto& pool = state.pools[template_key(entry->owner, entry->name)];
      pool.key = template_key(entry->owner, entry->name);
      pool.min_ready = static_cast<std::uint32_t>(wanted.min_ready);
      pool.max_ready = static_cast<std::uint32_t>(wanted.max_ready);
    }
  for (auto it = state.pools.begin(); it != state.pools.end();) {
    auto& pool = it->second;
    if (state.services->boards->templates.find(it->first) || !pool.filling.empty()) {
      ++it;
      continue;
    }
    for (const auto& member : pool.ready) dismiss(self, member.id);
    state.services->boards->pools.erase(it->first);
    it = state.pools.erase(it);
  }
}

Pool* pool_with(Self self, const std::string& id) {
  for (auto& [key, pool] : self->state.pools)
    if (pool.filling.contains(id) || std::ranges::any_of(pool.ready, [&](const auto& m) { return m.id == id; }))
      return &pool;
  return nullptr;
}

void drop_member(Self self, const std::string& id, const std::string& why) {
  auto* pool = pool_with(self, id);
  if (pool == nullptr) return;
  if (std::erase_if(pool->ready, [&](const auto& member) { return member.id == id; }) == 0) return;
  log_info(LogComponent::pool, {}, "pool of {}: a VM goes: {}", pool->key, why);
  dismiss(self, id);
  fill(self, *pool);
}

/// Replaces what waits too long and what does not answer.
void look_after(Self self, Pool& pool) {
  const auto now = Clock::now();
  const auto max_idle = std::chrono::seconds(self->state.services->pool.max_idle_sec);
  std::vector<std::string> old;
  for (const auto& member : pool.ready) {
    if (member.since + max_idle < now) {
      old.push_back(member.id);
      continue;
    }
    self->request(self->state.concerns.node_agent, kPingDeadline, ping_atom_v, member.id)
        .then([] {}, [self, id = member.id](
                         caf::error& error) { drop_member(self, id, describe(from_caf(error, "ask a pool's VM"))); });
  }
  for (const auto& id : old) drop_member(self, id, "it waited too long");
}

void member_ready(Self self, const RunRecord& run, const Sandbox& vm) {
  auto& state = self->state;
  auto* pool = pool_with(self, vm.id);
  if (pool == nullptr) return;
  pool->filling.erase(vm.id);
  if (run.status != RunStatus::succeeded) {
    state.held.erase(vm.id);
    const auto wait = refill_back_off(pool->failures++);
    pool->not_before = Clock::now() + wait;
    pool->problem = run.error ? describe(*run.error) : "a VM did not start";
    log_warn(LogComponent::pool, {}, "pool of {}: {}", pool->key, pool->problem);
    // A snapshot that does not restore is no reason to have no pool: the next one is made without it.
    if (run.error && run.error->code == ErrorCode::snapshot_invalid)
      state.services->snapshots->drop(vm.lineage.snapshot);
    tell_board(self, *pool);
    self->delayed_send(self, wait, fill_atom_v);
  } else if (state.stopping || state.resting) {
    dismiss(self, vm.id);
  } else {
    pool->failures = 0;
    pool->ready.push_back({.id = vm.id, .vm = vm, .since = Clock::now()});
    fill(self, *pool);
  }
  end_if_idle(self);
}

void give(Self self, const BootRequest& request, caf::typed_response_promise<Sandbox> promise) {
  auto& state = self->state;
  const auto& wanted = request.sandbox;
  const auto found = state.pools.find(template_key(wanted.owner, wanted.template_name));
  if (found == state.pools.end() || state.stopping)
    return deliver_result<Sandbox>(promise, fail(none_ready(wanted, "the template has no pool")));
  auto& pool = found->second;
  const auto now = member_of(*state.services, pool);
  const auto member = std::ranges::find_if(pool.ready, [&](const auto& candidate) {
    return candidate.vm.resources == wanted.resources && candidate.vm.rootfs_identity == wanted.rootfs_identity &&
           now && same_version(candidate.vm, now->sandbox);
  });
  if (member == pool.ready.end()) {
    const bool other_size = !pool.ready.empty();
    return deliver_result<Sandbox>(
        promise, fail(none_ready(wanted, other_size ? "it holds the template's own size and version only"
                                                    : "none is ready just now")));
  }
  auto taken = std::move(*member);
  pool.ready.erase(member);
  tell_board(self, pool);
  BootRequest call = request;
  call.sandbox.lineage = taken.vm.lineage;
  call.sandbox.vmm = taken.vm.vmm;
  call.sandbox.ip = taken.vm.ip;
  self->request(state.concerns.node_agent, kTakeDeadline, take_atom_v, taken.id, call)
      .then(
          [self, promise, from = taken.id](Sandbox& sandbox) mutable {
            self->send(self->state.concerns.scheduler, rename_atom_v, from, sandbox.id);
            self->send(self->state.concerns.ip_allocator, rename_atom_v, from, sandbox.id);
            self->state.held.erase(from);
            promise.deliver(std::move(sandbox));
          },
          [self, promise, request, taken](caf::error& error) {
            log_warn(LogComponent::pool, {{"sandbox", request.sandbox.id}}, "{}",
                     describe(from_caf(error, "take a pool's VM")));
            // It may be half renamed: both names go, before anything of the sandbox' is made again.
            dismiss(self, request.sandbox.id, [self, promise, request, taken] {
              dismiss(self, taken.id, [self, promise, request] { give(self, request, promise); });
            });
          });
  self->delayed_send(self, kAfterTake, fill_atom_v);
}

}  // namespace

PoolKeeperActor::behavior_type pool_keeper(Self self, SharedServices services, BootConcerns concerns,
                                           VmmStockActor stock, RunRecorderActor recorder) {
  self->state.services = std::move(services);
  self->state.concerns = std::move(concerns);
  self->state.stock = std::move(stock);
  self->state.recorder = std::move(recorder);
  self->send(self, tick_atom_v);
  return {
      [self](take_atom, const BootRequest& request) -> caf::result<Sandbox> {
        auto promise = self->make_response_promise<Sandbox>();
        give(self, request, promise);
        return promise;
      },
      [self](tick_atom) {
        auto& state = self->state;
        if (state.stopping) return;
        find_templates(self);
        for (auto& [key, pool] : state.pools) {
          look_after(self, pool);
          fill(self, pool);
        }
        self->delayed_send(
            self, std::chrono::seconds(std::max<std::uint64_t>(1, state.services->pool.replenish_interval_sec)),
            tick_atom_v);
      },
      [self](fill_atom) {
        for (auto& [key, pool] : self->state.pools) fill(self, pool);
      },
      [self](ended_atom, const RunRecord& run, const Sandbox& vm) { member_ready(self, run, vm); },
      [self](pause_atom, bool rests) {
        self->state.resting = rests;
        self->send(self, fill_atom_v);
      },
      [self](ended_atom, const std::string& id, const std::string& reason) { drop_member(self, id, reason); },
      [self](drain_atom) -> caf::result<void> {
        auto& state = self->state;
        state.stopping = true;
        for (auto& [key, pool] : state.pools)
          for (auto& member : std::exchange(pool.ready, {})) dismiss(self, member.id);
        state.draining.push_back(self->make_response_promise<void>());
        auto promise = state.draining.back();
        end_if_idle(self);
        return promise;
      },
  };
}

}  // namespace nanobox
