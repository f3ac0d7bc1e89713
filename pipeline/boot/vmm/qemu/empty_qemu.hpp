#pragma once

#include "pipeline/boot/vmm/qemu/qemu_disk.hpp"
#include "pipeline/boot/vmm/qemu/qemu_vm.hpp"

namespace nanobox {

/// A QEMU started with `-incoming defer`: no disk, its memory mapped, and no state until it gets one.
class EmptyQemu : public EmptyVmm {
public:
  /// @param layers  our end of the socket that its preload takes memory layers from
  EmptyQemu(VmIdentity identity, VmProcess process, QemuConnections connections,
            std::shared_ptr<QemuControlEvents> control, UniqueFd layers);
  ~EmptyQemu() override;
  EmptyQemu(const EmptyQemu&) = delete;
  EmptyQemu& operator=(const EmptyQemu&) = delete;

  VmIdentity identity() const override { return identity_; }
  bool has_ended() const override { return !process_ || process_->has_ended(); }
  void become(const std::string& id, const std::filesystem::path& run_dir) override;
  QemuConnections& connections() { return connections_; }

  /// Readies it for a state whose disk begins so; an empty image: nothing is known of it yet.
  Result<void> plug_base(DiskBase base);
  /// Takes the state and the disk that its VM will have. @errors as VmmDriver::prepare
  Result<void> take_state(const std::filesystem::path& state, const std::filesystem::path& overlay);
  /// See VmmDriver::restore; this object is of no use then.
  Result<RestoredVm> take(const VmState& state, VmEvents events);

private:
  Result<std::size_t> plugged_of(const DiskBase& base) const;
  Result<void> load(const VmState& state, RestoredVm& restored);
  Result<void> migrate(std::vector<QmpSession::Call> before, const std::filesystem::path& state);

  VmIdentity identity_;
  std::optional<VmProcess> process_;  ///< nothing once it became a VM
  QemuConnections connections_;
  std::shared_ptr<QemuControlEvents> control_;
  UniqueFd layers_;
  DiskBase base_;
  std::filesystem::path state_;  ///< that it has
};

}  // namespace nanobox
