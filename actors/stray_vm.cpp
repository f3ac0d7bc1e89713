#include "actors/stray_vm.hpp"

#include <condition_variable>
#include <mutex>

#include "pipeline/store/node_store.hpp"

namespace nanobox {

namespace {

constexpr std::chrono::seconds kEndPatience{15};

}  // namespace

Result<bool> end_stray(const Services& services, const std::string& sandbox_id) {
  const auto row = NANOBOX_TRY(services.node_store->vm(sandbox_id));
  if (!row || !services.driver) return false;
  const auto identity = NANOBOX_TRY(vm_identity_from_json(row->identity));
  struct Gone {
    std::mutex mutex;
    std::condition_variable changed;
    bool gone = false;
  };
  auto gone = std::make_shared<Gone>();
  VmEvents events;
  events.on_ready = [] {};
  events.on_channel = [](std::span<const std::byte>) {};
  events.on_channel_writable = [] {};
  events.on_disk_error = [](bool) {};
  events.on_exit = [gone](const VmExit&) {
    const std::lock_guard lock(gone->mutex);
    gone->gone = true;
    gone->changed.notify_all();
  };
  auto vm = services.driver->adopt(identity, std::move(events));
  if (!vm) {  // it is not there any more
    NANOBOX_TRY(services.driver->clean_up(identity));
    return false;
  }
  (*vm)->end();
  std::unique_lock lock(gone->mutex);
  gone->changed.wait_for(lock, kEndPatience, [&] { return gone->gone; });
  return true;
}

}  // namespace nanobox
