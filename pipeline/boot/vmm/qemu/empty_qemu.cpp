#include "pipeline/boot/vmm/qemu/empty_qemu.hpp"

#include <fcntl.h>
#include <poll.h>

#include "config/stopwatch.hpp"
#include "pipeline/boot/memory/layer_sender.hpp"
#include "pipeline/boot/vmm/qemu/qemu_disk.hpp"

namespace nanobox {

namespace {

constexpr std::chrono::seconds restore_deadline{20};
constexpr int end_patience_ms = 5000;

Result<UniqueFd> open_file(const std::filesystem::path& path) {
  UniqueFd file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!file) return fail(errno_error(errno, "open a part of the state", path, ErrorCode::snapshot_invalid));
  return file;
}

}  // namespace

EmptyQemu::EmptyQemu(VmIdentity identity, VmProcess process, QemuConnections connections,
                     std::shared_ptr<QemuControlEvents> control, UniqueFd layers)
    : identity_(std::move(identity)),
      process_(std::move(process)),
      connections_(std::move(connections)),
      control_(std::move(control)),
      layers_(std::move(layers)) {}

EmptyQemu::~EmptyQemu() {
  if (!process_) return;
  connections_.qmp->close();
  process_->end();
  pollfd ended{.fd = process_->exit_fd(), .events = POLLIN, .revents = 0};
  poll(&ended, 1, end_patience_ms);
  // Its parent writes how it ended into the run folder, which the caller removes.
  (void)process_->exit_status();
  // A cgroup that cannot be removed is found again by the start's clean-up.
  (void)process_->remove_cgroup();
}

void EmptyQemu::become(const std::string& id, const std::filesystem::path& run_dir) {
  identity_.sandbox_id = id;
  identity_.run_dir = run_dir;
  if (process_) process_->moved_to(run_dir);
}

Result<void> EmptyQemu::plug_base(DiskBase base) {
  std::vector<QmpSession::Call> calls;
  calls.push_back({.command = "migrate-set-capabilities", .arguments = qmp_state_capabilities});
  if (!base.image.empty()) NANOBOX_TRY(add_base(calls, base, 0));
  base_ = std::move(base);
  return connections_.qmp->call_all(std::move(calls), restore_deadline);
}

/// How many nodes of `base` are there already, of which the image is the first.
Result<std::size_t> EmptyQemu::plugged_of(const DiskBase& base) const {
  if (base_.image.empty()) return std::size_t{0};
  const bool prefix = base_.image == base.image && base_.layers.size() <= base.layers.size() &&
                      std::equal(base_.layers.begin(), base_.layers.end(), base.layers.begin());
  if (prefix) return base_.layers.size() + 1;
  return fail({.code = ErrorCode::internal,
               .attempted = "restore a VM",
               .subject = identity_.sandbox_id,
               .reason = "its VMM was prepared for another disk",
               .mend = ""});
}

Result<void> EmptyQemu::migrate(std::vector<QmpSession::Call> before, const std::filesystem::path& state) {
  auto file = NANOBOX_TRY(open_file(state));
  before.push_back({.command = "getfd", .arguments = R"({"fdname":"state"})", .attached = std::move(file)});
  before.push_back({.command = "migrate-incoming", .arguments = R"({"uri":"fd:state"})"});
  control_->expect_migration();
  NANOBOX_TRY(connections_.qmp->call_all(std::move(before), restore_deadline));
  return control_->await_migration(restore_deadline);
}

Result<void> EmptyQemu::take_state(const std::filesystem::path& state, const std::filesystem::path& overlay) {
  std::vector<QmpSession::Call> calls;
  NANOBOX_TRY(plug_overlay(calls, overlay, base_.layers.size()));
  NANOBOX_TRY(migrate(std::move(calls), state));
  state_ = state;
  layers_.reset();
  return {};
}

Result<void> EmptyQemu::load(const VmState& state, RestoredVm& restored) {
  const bool is_loaded = !state_.empty();
  if (is_loaded && (state_ != state.state || !state.memory_layer.empty() || base_.layers != state.disk_layers))
    return fail({.code = ErrorCode::internal,
                 .attempted = "restore a VM",
                 .subject = identity_.sandbox_id,
                 .reason = "its VMM holds another state",
                 .mend = ""});
  if (!state.memory_layer.empty()) {
    const Stopwatch watch(restored.layer_us);
    const auto layer = NANOBOX_TRY(open_file(state.memory_layer));
    NANOBOX_TRY(send_memory_layer(layers_.get(), layer.get(), restore_deadline));
  }
  layers_.reset();
  if (!is_loaded) {
    const Stopwatch watch(restored.state_us);
    std::vector<QmpSession::Call> calls;
    const DiskBase base{.image = state.base_image, .layers = state.disk_layers};
    NANOBOX_TRY(add_base(calls, base, NANOBOX_TRY(plugged_of(base))));
    NANOBOX_TRY(plug_overlay(calls, state.overlay, base.layers.size()));
    NANOBOX_TRY(migrate(std::move(calls), state.state));
  }
  const Stopwatch watch(restored.cont_us);
  NANOBOX_TRY(connections_.qmp->call("cont", "", restore_deadline));
  return {};
}

Result<RestoredVm> EmptyQemu::take(const VmState& state, VmEvents events) {
  if (!process_)
    return fail({.code = ErrorCode::guest_gone,
                 .attempted = "restore a VM",
                 .subject = identity_.sandbox_id,
                 .reason = "its VMM holds a state already",
                 .mend = ""});
  RestoredVm restored;
  NANOBOX_TRY(load(state, restored));
  auto process = std::move(*process_);
  process_.reset();
  restored.vm =
      NANOBOX_TRY(QemuVm::watch(identity_, std::move(process), std::move(connections_), control_, std::move(events)));
  return restored;
}

}  // namespace nanobox
