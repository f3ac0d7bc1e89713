#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>

#include "config/unique_fd.hpp"
#include "pipeline/boot/vmm/console_ring.hpp"
#include "pipeline/boot/vmm/driver.hpp"
#include "pipeline/boot/vmm/poller.hpp"
#include "pipeline/boot/vmm/qmp_session.hpp"
#include "pipeline/boot/vmm/vm_process.hpp"

namespace nanobox {

/// The daemon's ends of a VM's sockets, and its control session.
struct QemuConnections {
  std::shared_ptr<Poller> poller;
  std::shared_ptr<QmpSession> qmp;
  UniqueFd channel;
  UniqueFd console;
};

/// What QMP tells on its own; made before the session whose callback fills it, read by the VM.
struct QemuControlEvents {
  /// Before `migrate` or `migrate-incoming`: forgets how an earlier one ended.
  void expect_migration();
  /// Waits for its end. @errors vmm_failed · deadline_exceeded
  Result<void> await_migration(std::chrono::milliseconds deadline);

  std::mutex mutex;
  std::condition_variable migrated;
  std::optional<bool> migration_succeeded;
  std::deque<QmpMessage> early;  ///< until `handler` is set
  std::function<void(const QmpMessage&)> handler;
  void deliver(const QmpMessage& message);
  void take_over(std::function<void(const QmpMessage&)> new_handler);
};

/// A QEMU process under the poller's watch.
class QemuVm : public Vm {
public:
  /// Begins to watch; events may come before this returns.
  static Result<std::unique_ptr<Vm>> watch(VmIdentity identity, VmProcess process, QemuConnections connections,
                                           const std::shared_ptr<QemuControlEvents>& control, VmEvents events);
  ~QemuVm() override;
  VmIdentity identity() const override;
  void become(const std::string& id, const std::filesystem::path& run_dir) override;
  bool send_channel(std::vector<std::byte> bytes) override;
  std::size_t channel_queued() const override;
  void grant_channel(std::size_t bytes) override;
  std::string console_tail(std::size_t max) const override;
  std::pair<std::string, std::uint64_t> console_since(std::uint64_t offset, std::size_t max) const override;
  Result<void> stop() override;
  Result<void> cont() override;
  Result<void> save_state(UniqueFd file) override;
  Result<void> freeze_disk(UniqueFd overlay) override;
  Result<void> grow_disk(std::uint64_t bytes) override;
  void resume_after_disk_error() override;
  void end() override;

private:
  class Core;
  explicit QemuVm(std::shared_ptr<Core> core) : core_(std::move(core)) {}
  std::shared_ptr<Core> core_;
};

}  // namespace nanobox
