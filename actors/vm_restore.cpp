#include "actors/vm_restore.hpp"

#include "actors/disk_keeper.hpp"
#include "actors/network_keeper.hpp"
#include "actors/vmm_stock.hpp"
#include "config/stopwatch.hpp"
#include "pipeline/store/node_store.hpp"

namespace nanobox {

namespace {

/// The overlay that was made for a VMM in stock becomes the sandbox'.
Result<void> take_overlay(const Services& services, const std::string& stock_id, const SandboxFiles& files) {
  const auto made = sandbox_files(services, stock_id);
  std::error_code error;
  std::filesystem::rename(made.overlay, files.overlay, error);
  if (error) return fail(errno_error(error.value(), "move to " + files.overlay.string(), made.overlay));
  std::filesystem::remove(made.folder, error);
  return {};
}

template <class Machine>
Result<void> rename_machine(const Services& services, Machine& machine, const std::string& to) {
  const auto old = machine.identity();
  const auto files = sandbox_files(services, to);
  std::error_code error;
  std::filesystem::rename(old.run_dir, files.run_dir, error);
  if (error) return fail(errno_error(error.value(), "move to " + files.run_dir.string(), old.run_dir));
  machine.become(to, files.run_dir);
  if (services.network) NANOBOX_TRY(services.network->rename(old.sandbox_id, to));
  return services.node_store->take_over(old.sandbox_id, to, to_json(machine.identity()));
}

}  // namespace

Result<RestoredMachine> restore_vm(const Services& services, std::shared_ptr<EmptyVmm> empty, const DiskedBoot& disked,
                                   VmEvents events, std::uint64_t grown_disk) {
  const auto& request = disked.networked.addressed.placed.request;
  const auto& from = *request.from;
  auto restored = [&]() -> Result<RestoredMachine> {
    std::int64_t rename_us = 0;
    {
      const Stopwatch watch(rename_us);
      if (is_loaded(stock_shape(request)))
        NANOBOX_TRY(take_overlay(services, empty->identity().sandbox_id, disked.files));
      NANOBOX_TRY(rename_machine(services, *empty, request.sandbox.id));
    }
    NANOBOX_TRY(attach_network(services, request.sandbox));
    auto made = NANOBOX_TRY(services.driver->restore(*empty,
                                                     {.state = from.saved.state(),
                                                      .memory_layer = from.memory_layer,
                                                      .base_image = request.sandbox.rootfs_path,
                                                      .disk_layers = request.sandbox.lineage.disk_layers,
                                                      .overlay = disked.files.overlay},
                                                     std::move(events)));
    RestoredMachine machine{.vm = std::move(made.vm),
                            .detail = "us: rename " + std::to_string(rename_us) + ", layer " +
                                      std::to_string(made.layer_us) + ", state " + std::to_string(made.state_us) +
                                      ", cont " + std::to_string(made.cont_us)};
    if (grown_disk == 0) return machine;
    if (auto grown = machine.vm->grow_disk(grown_disk); !grown) {
      machine.vm->end();
      return fail(grown.error());
    }
    return machine;
  }();
  if (restored) return restored;
  if (empty->identity().sandbox_id == request.sandbox.id)
    discard_renamed(services, std::move(empty));
  else
    discard(services, std::move(empty));
  return restored;
}

Result<void> rename_vm(const Services& services, Vm& vm, const std::string& to) {
  return rename_machine(services, vm, to);
}

}  // namespace nanobox
