#include "actors/vmm_stock.hpp"

#include <algorithm>

#include "actors/disk_keeper.hpp"
#include "actors/job.hpp"
#include "actors/network_keeper.hpp"
#include "actors/refill_back_off.hpp"
#include "config/id.hpp"
#include "config/log.hpp"
#include "pipeline/boot/disk/overlay.hpp"
#include "pipeline/store/node_store.hpp"

namespace nanobox {

namespace {

using Self = VmmStockActor::stateful_pointer<VmmStockState>;
using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds kSpawnDeadline{60};
/// Starting the next VMM takes a core for 20 ms: not while the one just taken is being restored.
constexpr std::chrono::milliseconds kAfterTake{40};
constexpr std::chrono::seconds kBurst{60};
constexpr std::chrono::minutes kUnused{10};
constexpr std::chrono::seconds kLook{5};
constexpr std::uint32_t kMost = 16;
constexpr std::uint32_t kAtOnce = 2;
constexpr std::uint32_t kLeastOfTaken = 1;

/// The disk of the copy that the VMM will be.
Result<void> make_first_overlay(const SandboxFiles& files, const StockShape& shape) {
  NANOBOX_TRY(make_folders(files));
  return create_empty_overlay(files.overlay, shape.disk_bytes, shape.disk_layers.back().filename(), "qcow2");
}

Result<std::shared_ptr<EmptyVmm>> spawn_empty(const Services& services, const StockShape& shape) {
  if (!services.driver) return fail(services.driver_problem);
  const auto id = make_id("st");
  const auto files = sandbox_files(services, id);
  const auto spawned = [&]() -> Result<std::shared_ptr<EmptyVmm>> {
    std::error_code error;
    std::filesystem::create_directories(files.run_dir, error);
    if (error) return fail(errno_error(error.value(), "make folder", files.run_dir));
    if (is_loaded(shape)) NANOBOX_TRY(make_first_overlay(files, shape));
    const auto uid =
        NANOBOX_TRY(services.node_store->lease("uid", services.vmm_uids.first, services.vmm_uids.last, id));
    std::optional<NodeNetwork::Opened> interface;
    if (services.network) {
      NANOBOX_TRY(services.network->take(id));
      interface = NANOBOX_TRY(services.network->open(id));
    }
    std::shared_ptr<EmptyVmm> vmm =
        NANOBOX_TRY(services.driver->prepare({.id = id,
                                              .vcpu = shape.vcpu,
                                              .memory_mb = shape.memory_mb,
                                              .memory_file = shape.memory_file,
                                              .base_image = shape.base_image,
                                              .disk_layers = shape.disk_layers,
                                              .state = shape.state,
                                              .overlay = is_loaded(shape) ? files.overlay : std::filesystem::path(),
                                              .run_dir = files.run_dir,
                                              .uid = static_cast<std::uint32_t>(uid),
                                              .interface = to_interface(interface)}));
    NANOBOX_TRY(services.node_store->put_vm(id, to_json(vmm->identity())));
    return vmm;
  }();
  if (!spawned) {
    if (services.network) services.network->release(id);
    (void)remove_files(files);
    (void)services.node_store->forget(id);
  }
  return spawned;
}

std::uint32_t wanted(const VmmStockState::Shelf& shelf, Clock::time_point now) {
  if (shelf.least == 0) return 0;
  const auto recent = std::ranges::count_if(shelf.takes, [&](auto when) { return when + kBurst > now; });
  return std::min(kMost, std::max(shelf.least, static_cast<std::uint32_t>(recent)));
}

void fill(Self self);

/// A VMM has started, or has not.
void started_one(Self self) {
  auto& state = self->state;
  if (--state.starting != 0) return;
  for (auto& promise : std::exchange(state.draining, {})) deliver_done(promise);
}

void put_on_shelf(Self self, const StockShape& shape, const std::shared_ptr<EmptyVmm>& vmm) {
  auto& state = self->state;
  const auto found = state.shelves.find(shape);
  if (found != state.shelves.end()) {
    --found->second.on_the_way;
    found->second.failures = 0;
  }
  if (state.stopping || found == state.shelves.end() || found->second.least == 0)
    discard(*state.services, vmm);
  else
    found->second.ready.push_back(vmm);
  fill(self);
  started_one(self);
}

void spawn_one(Self self, const StockShape& shape) {
  ++self->state.shelves[shape].on_the_way;
  ++self->state.starting;
  request_job(self, kSpawnDeadline, [services = self->state.services, shape] { return spawn_empty(*services, shape); })
      .then([self, shape](std::shared_ptr<EmptyVmm>& vmm) { put_on_shelf(self, shape, vmm); },
            [self, shape](caf::error& error) {
              log_warn(LogComponent::pool, {}, "{}", describe(from_caf(error, "keep a VMM ready")));
              auto& shelf = self->state.shelves[shape];
              --shelf.on_the_way;
              const auto wait = refill_back_off(shelf.failures++);
              shelf.not_before = Clock::now() + wait;
              self->delayed_send(self, wait, fill_atom_v);
              started_one(self);
            });
}

/// Throws out what has ended or is too much, and starts what is wanted.
void fill(Self self) {
  auto& state = self->state;
  if (state.stopping) return;
  const auto now = Clock::now();
  for (auto it = state.shelves.begin(); it != state.shelves.end();) {
    auto& [shape, shelf] = *it;
    while (!shelf.takes.empty() && shelf.takes.front() + kBurst < now) shelf.takes.pop_front();
    std::error_code error;
    if (shelf.used + kUnused < now || !std::filesystem::exists(shape.memory_file, error)) shelf.least = 0;
    const auto count = wanted(shelf, now);
    std::deque<std::shared_ptr<EmptyVmm>> kept;
    for (auto& vmm : shelf.ready) {
      if (!vmm->has_ended() && kept.size() < count)
        kept.push_back(std::move(vmm));
      else
        discard(*state.services, std::move(vmm));
    }
    shelf.ready = std::move(kept);
    while (shelf.ready.size() + shelf.on_the_way < count && shelf.on_the_way < kAtOnce && shelf.not_before <= now)
      spawn_one(self, shape);
    if (shelf.least == 0 && shelf.ready.empty() && shelf.on_the_way == 0)
      it = state.shelves.erase(it);
    else
      ++it;
  }
}

caf::result<std::shared_ptr<EmptyVmm>> take(Self self, const StockShape& shape) {
  auto& state = self->state;
  if (state.stopping)
    return to_caf({.code = ErrorCode::shutting_down,
                   .attempted = "take a VMM",
                   .subject = "",
                   .reason = "the server is stopping",
                   .mend = "try again later"});
  auto& shelf = state.shelves[shape];
  shelf.least = std::max(shelf.least, kLeastOfTaken);
  shelf.used = Clock::now();
  shelf.takes.push_back(shelf.used);
  if (shelf.takes.size() > 4 * kMost) shelf.takes.pop_front();
  self->delayed_send(self, kAfterTake, fill_atom_v);
  while (!shelf.ready.empty()) {
    auto vmm = std::move(shelf.ready.front());
    shelf.ready.pop_front();
    if (!vmm->has_ended()) return vmm;
    discard(*state.services, std::move(vmm));
  }
  auto promise = self->make_response_promise<std::shared_ptr<EmptyVmm>>();
  ++state.starting;
  request_job(self, kSpawnDeadline, [services = state.services, shape] { return spawn_empty(*services, shape); })
      .then(
          [self, promise](std::shared_ptr<EmptyVmm>& vmm) mutable {
            promise.deliver(std::move(vmm));
            started_one(self);
          },
          [self, promise](caf::error& error) mutable {
            promise.deliver(error);
            started_one(self);
          });
  return promise;
}

}  // namespace

StockShape stock_shape(const BootRequest& request) {
  const auto& sandbox = request.sandbox;
  StockShape shape{.memory_file = request.from->memory_base,
                   .vcpu = request.from->saved.vcpu,
                   .memory_mb = request.from->saved.memory_mb,
                   .base_image = sandbox.rootfs_path,
                   .disk_layers = {}};
  if (sandbox.lineage.snapshot.empty()) return shape;
  for (const auto& layer : sandbox.lineage.disk_layers)
    if (layer.parent_path() == sandbox.lineage.snapshot ||
        layer.parent_path() == sandbox.lineage.snapshot.parent_path())
      shape.disk_layers.push_back(layer);
  if (request.from->memory_layer.empty() && !shape.disk_layers.empty() &&
      shape.disk_layers.size() == sandbox.lineage.disk_layers.size()) {
    shape.state = request.from->saved.state();
    shape.disk_bytes = request.from->saved.disk_bytes;
  }
  return shape;
}

void discard(const Services& services, std::shared_ptr<EmptyVmm> vmm) {
  const auto folder = sandbox_files(services, vmm->identity().sandbox_id).folder;
  discard_renamed(services, std::move(vmm));
  std::error_code ignored;
  std::filesystem::remove_all(folder, ignored);
}

void discard_renamed(const Services& services, std::shared_ptr<EmptyVmm> vmm) {
  const auto id = vmm->identity().sandbox_id;
  vmm.reset();
  if (services.network) services.network->release(id);
  std::error_code ignored;
  std::filesystem::remove_all(sandbox_files(services, id).run_dir, ignored);
  if (const auto forgotten = services.node_store->forget_vmm(id); !forgotten)
    log_error(LogComponent::pool, {}, "{}", describe(forgotten.error()));
}

VmmStockActor::behavior_type vmm_stock(Self self, SharedServices services) {
  self->state.services = std::move(services);
  self->delayed_send(self, kLook, tick_atom_v);
  return {
      [self](take_atom, const StockShape& shape) { return take(self, shape); },
      [self](keep_atom, const StockShape& shape, std::uint32_t least) {
        auto& shelf = self->state.shelves[shape];
        shelf.least = least;
        shelf.used = Clock::now();
        fill(self);
      },
      [self](fill_atom) { fill(self); },
      [self](tick_atom) {
        fill(self);
        self->delayed_send(self, kLook, tick_atom_v);
      },
      [self](drain_atom) -> caf::result<void> {
        auto& state = self->state;
        state.stopping = true;
        for (auto& [shape, shelf] : state.shelves)
          for (auto& vmm : std::exchange(shelf.ready, {})) discard(*state.services, std::move(vmm));
        if (state.starting == 0) return caf::unit;
        // One that starts now would leave its folder behind.
        state.draining.push_back(self->make_response_promise<void>());
        return state.draining.back();
      },
  };
}

}  // namespace nanobox
