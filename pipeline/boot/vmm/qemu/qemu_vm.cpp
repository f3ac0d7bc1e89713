#include "pipeline/boot/vmm/qemu/qemu_vm.hpp"

#include <sys/epoll.h>
#include <sys/socket.h>

#include "pipeline/boot/vmm/qemu/qemu_disk.hpp"
#include "pipeline/boot/vmm/vm_exit_reason.hpp"

namespace nanobox {

namespace {

constexpr std::uint64_t channel_window = std::uint64_t{1} << 20;  // delivered but not yet granted
constexpr std::size_t queue_mark = std::size_t{1} << 20;
constexpr std::size_t piece_bytes = std::size_t{64} << 10;
constexpr std::chrono::seconds record_patience{2};
constexpr std::chrono::seconds control_deadline{30};

Error state_error(ErrorCode code, std::string reason) {
  return {.code = code, .attempted = "move a VM's state", .subject = "", .reason = std::move(reason), .mend = ""};
}

}  // namespace

void QemuControlEvents::expect_migration() {
  const std::lock_guard lock(mutex);
  migration_succeeded.reset();
}

Result<void> QemuControlEvents::await_migration(std::chrono::milliseconds deadline) {
  std::unique_lock lock(mutex);
  if (!migrated.wait_for(lock, deadline, [&] { return migration_succeeded.has_value(); }))
    return fail(state_error(ErrorCode::deadline_exceeded, "the VMM did not finish in time"));
  if (!*migration_succeeded) return fail(state_error(ErrorCode::vmm_failed, "the VMM gave up"));
  return {};
}

void QemuControlEvents::deliver(const QmpMessage& message) {
  if (message.name == QmpSession::closed_event) {
    const std::lock_guard lock(mutex);
    if (!migration_succeeded) migration_succeeded = false;
    migrated.notify_all();
    return;
  }
  if (message.name == "MIGRATION") {
    const auto status = json_string(message.body, "status");
    if (status == "completed" || status == "failed") {
      const std::lock_guard lock(mutex);
      migration_succeeded = status == "completed";
      migrated.notify_all();
    }
    return;
  }
  std::function<void(const QmpMessage&)> current;
  {
    const std::lock_guard lock(mutex);
    if (!handler) {
      if (early.size() < 64) early.push_back(message);
      return;
    }
    current = handler;
  }
  current(message);
}

void QemuControlEvents::take_over(std::function<void(const QmpMessage&)> new_handler) {
  for (;;) {
    std::deque<QmpMessage> waiting;
    {
      const std::lock_guard lock(mutex);
      if (early.empty()) {
        handler = std::move(new_handler);
        return;
      }
      waiting.swap(early);
    }
    for (const auto& message : waiting) new_handler(message);
  }
}

/// What the poller's callbacks and the callers' threads share. Callbacks hold it weakly.
class QemuVm::Core : public std::enable_shared_from_this<Core> {
public:
  Core(VmIdentity identity, VmProcess process, QemuConnections connections, std::shared_ptr<QemuControlEvents> control,
       VmEvents events)
      : identity_(std::move(identity)),
        process_(std::move(process)),
        connections_(std::move(connections)),
        control_(std::move(control)),
        events_(std::move(events)) {}

  Result<void> watch_all() {
    auto console = NANOBOX_TRY(watch_with(connections_.console.get(), &Core::on_console));
    auto channel = NANOBOX_TRY(watch_with(connections_.channel.get(), &Core::on_channel));
    auto exit = NANOBOX_TRY(watch_with(process_.exit_fd(), &Core::on_vmm_ended));
    const std::lock_guard lock(mutex_);
    console_watch_ = std::move(console);
    channel_watch_ = std::move(channel);
    exit_watch_ = std::move(exit);
    console_watch_.want(EPOLLIN);
    want_channel();
    exit_watch_.want(EPOLLIN);
    return {};
  }

  // No callback runs, or will run, once this has returned; within a callback, none will run after it.
  void let_go() {
    std::array<PollWatch, 5> watches;
    {
      const std::lock_guard lock(mutex_);
      let_go_ = true;
      watches = {std::move(console_watch_), std::move(channel_watch_), std::move(exit_watch_), std::move(parent_watch_),
                 std::move(record_timer_)};
    }
    for (auto& watch : watches) watch.reset();
    connections_.qmp->close();
    if (!connections_.poller->in_poller_thread()) const std::lock_guard last_one_is_over(delivery_);
  }

  VmIdentity identity() const {
    const std::lock_guard lock(mutex_);
    return identity_;
  }

  void become(const std::string& id, const std::filesystem::path& run_dir) {
    const std::lock_guard lock(mutex_);
    identity_.sandbox_id = id;
    identity_.run_dir = run_dir;
    process_.moved_to(run_dir);
  }

  bool send(std::vector<std::byte> bytes) {
    const std::lock_guard lock(mutex_);
    if (!channel_watch_) return false;
    queued_bytes_ += bytes.size();
    queue_.push_back({.bytes = std::move(bytes)});
    if (queue_.size() == 1) write_queued();
    if (queued_bytes_ <= queue_mark) return true;
    over_mark_ = true;
    return false;
  }

  std::size_t channel_queued() const {
    const std::lock_guard lock(mutex_);
    return queued_bytes_;
  }

  void grant(std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    granted_bytes_ += bytes;
    want_channel();
  }

  std::string console_tail(std::size_t max) const {
    const std::lock_guard lock(mutex_);
    return ring_.tail(max);
  }

  std::pair<std::string, std::uint64_t> console_since(std::uint64_t offset, std::size_t max) const {
    const std::lock_guard lock(mutex_);
    return ring_.since(offset, max);
  }

  void end() {
    {
      const std::lock_guard lock(mutex_);
      if (ended_) return;
      end_asked_ = true;
    }
    process_.end();
  }

  // A guest that cannot go on yet stops again and says so.
  void resume() {
    connections_.qmp->execute("cont", "", control_deadline, [](const auto&) {});
  }

  Result<void> command(std::string_view name, std::string_view arguments = "", UniqueFd attached = {}) {
    NANOBOX_TRY(connections_.qmp->call(name, arguments, control_deadline, std::move(attached)));
    return {};
  }

  Result<void> save_state(UniqueFd file) {
    std::vector<QmpSession::Call> calls;
    calls.push_back({.command = "migrate-set-capabilities", .arguments = qmp_state_capabilities});
    calls.push_back({.command = "getfd", .arguments = R"({"fdname":"state"})", .attached = std::move(file)});
    calls.push_back({.command = "migrate", .arguments = R"({"uri":"fd:state"})"});
    control_->expect_migration();
    NANOBOX_TRY(connections_.qmp->call_all(std::move(calls), control_deadline));
    NANOBOX_TRY(control_->await_migration(control_deadline));
    // The end is told a little before the VMM is done with it: a `cont` in between would be forgotten.
    const auto until = std::chrono::steady_clock::now() + control_deadline;
    while (std::chrono::steady_clock::now() < until) {
      const auto status = NANOBOX_TRY(connections_.qmp->call("query-status", "", control_deadline));
      if (json_string(status, "status") == "postmigrate") return {};
    }
    return fail(state_error(ErrorCode::deadline_exceeded, "the VMM did not finish in time"));
  }

  Result<void> freeze_disk(UniqueFd overlay) {
    const auto top = NANOBOX_TRY(top_overlay());
    const auto next = top + 1;
    std::vector<QmpSession::Call> calls;
    add_overlay(calls, next, std::move(overlay), std::nullopt);
    calls.push_back(
        {.command = "blockdev-snapshot",
         .arguments = R"({"node":")" + overlay_node(top) + R"(","overlay":")" + overlay_node(next) + R"("})"});
    return connections_.qmp->call_all(std::move(calls), control_deadline);
  }

  void on_control(const QmpMessage& message) {
    const std::lock_guard delivering(delivery_);
    if (message.name == "SHUTDOWN") {
      const std::lock_guard lock(mutex_);
      guest_rebooted_ |= json_bool(message.body, "guest").value_or(false);
    } else if (message.name == "GUEST_PANICKED") {
      const std::lock_guard lock(mutex_);
      panicked_ = true;
    } else if (message.name == "BLOCK_IO_ERROR") {
      tell(events_.on_disk_error, json_bool(message.body, "nospace").value_or(false));
    }
  }

private:
  struct Piece {
    std::vector<std::byte> bytes;
    std::size_t sent = 0;
  };

  Result<PollWatch> watch_with(int fd, void (Core::*handler)(std::uint32_t)) {
    return connections_.poller->watch(fd, 0, [weak = weak_from_this(), handler](std::uint32_t events) {
      const auto self = weak.lock();
      if (!self) return;
      const std::lock_guard delivering(self->delivery_);
      if (!self->is_let_go()) (self.get()->*handler)(events);
    });
  }

  template <class... Arguments>
  void tell(const std::function<void(Arguments...)>& event, std::type_identity_t<Arguments>... arguments) {
    if (event && !is_let_go()) event(std::move(arguments)...);
  }

  // The VMM itself knows it best: an earlier daemon may have frozen some.
  Result<unsigned> top_overlay() {
    const auto nodes =
        NANOBOX_TRY(connections_.qmp->call("query-named-block-nodes", R"({"flat":true})", control_deadline));
    unsigned top = 0;
    while (nodes.find('"' + overlay_node(top + 1) + '"') != std::string::npos) ++top;
    return top;
  }

  bool is_let_go() const {
    const std::lock_guard lock(mutex_);
    return let_go_;
  }

  // ---- console

  void on_console(std::uint32_t) {
    if (!read_console()) {
      const std::lock_guard lock(mutex_);
      console_watch_.reset();
    }
  }

  // False at its end.
  bool read_console() {
    std::array<std::byte, 16384> buffer;
    const auto count = recv(connections_.console.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (count < 0) return errno == EAGAIN || errno == EINTR;
    if (count == 0) return false;
    const auto bytes = std::span(buffer).first(static_cast<std::size_t>(count));
    bool ready = false;
    {
      const std::lock_guard lock(mutex_);
      ring_.append(bytes);
      panicked_ |= panic_mark_.seen(bytes);
      ready = !ready_told_ && ready_mark_.seen(bytes);
      ready_told_ |= ready;
    }
    tell(events_.on_console, bytes);
    if (ready) tell(events_.on_ready);
    return true;
  }

  // ---- channel

  // With the lock held.
  void want_channel() {
    if (!channel_watch_) return;
    channel_watch_.want((delivered_bytes_ < granted_bytes_ + channel_window ? EPOLLIN : 0U) |
                        (queue_.empty() ? 0U : EPOLLOUT));
  }

  void on_channel(std::uint32_t events) {
    if ((events & EPOLLOUT) != 0) flush_channel();
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0 && !read_channel()) {
      const std::lock_guard lock(mutex_);
      channel_watch_.reset();
      queue_.clear();
    }
  }

  // False when there is nothing more to be had: its end, or a hang-up while the reader is behind.
  bool read_channel() {
    std::uint64_t room = 0;
    {
      const std::lock_guard lock(mutex_);
      if (let_go_) return false;
      room = granted_bytes_ + channel_window - delivered_bytes_;
    }
    if (room == 0) return false;
    read_buffer_.resize(piece_bytes);
    const auto count = recv(connections_.channel.get(), read_buffer_.data(),
                            std::min<std::uint64_t>(room, read_buffer_.size()), MSG_DONTWAIT);
    if (count < 0) return errno == EAGAIN || errno == EINTR;
    if (count == 0) return false;
    const auto bytes = static_cast<std::size_t>(count);
    {
      const std::lock_guard lock(mutex_);
      delivered_bytes_ += bytes;
      want_channel();
    }
    tell(events_.on_channel, std::span(read_buffer_).first(bytes));
    return true;
  }

  void flush_channel() {
    bool below = false;
    {
      const std::lock_guard lock(mutex_);
      write_queued();
      below = over_mark_ && queued_bytes_ <= queue_mark / 2;
      if (below) over_mark_ = false;
    }
    if (below) tell(events_.on_channel_writable);
  }

  // With the lock held. Errors are left to reading, which sees them as the end.
  void write_queued() {
    while (!queue_.empty()) {
      auto& piece = queue_.front();
      const auto rest = std::span(piece.bytes).subspan(piece.sent);
      const auto count = ::send(connections_.channel.get(), rest.data(), rest.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) break;
      piece.sent += static_cast<std::size_t>(count);
      queued_bytes_ -= static_cast<std::size_t>(count);
      if (piece.sent == piece.bytes.size()) queue_.pop_front();
    }
    want_channel();
  }

  // ---- the end

  // The sockets hold the VMM's last words; then its tiny parent records how it ended, and ends as well.
  void on_vmm_ended(std::uint32_t) {
    {
      const std::lock_guard lock(mutex_);
      exit_watch_.reset();
      console_watch_.reset();
      if (std::exchange(ended_, true)) return;
    }
    for (std::byte more{}; read_console() && recv(connections_.console.get(), &more, 1, MSG_PEEK | MSG_DONTWAIT) > 0;) {
    }
    connections_.qmp->drain();
    for (std::byte more{}; read_channel() && recv(connections_.channel.get(), &more, 1, MSG_PEEK | MSG_DONTWAIT) > 0;) {
    }

    auto parent = open_process(process_.identity().parent);
    if (!parent) return tell_exit();
    parent_ = std::move(*parent);
    auto watch = watch_with(parent_.get(), &Core::on_parent_ended);
    if (!watch) return tell_exit();
    const std::lock_guard lock(mutex_);
    if (let_go_) return;
    parent_watch_ = std::move(*watch);
    parent_watch_.want(EPOLLIN);
    record_timer_ = connections_.poller->after(record_patience, [weak = weak_from_this()] {
      const auto self = weak.lock();
      if (!self) return;
      const std::lock_guard delivering(self->delivery_);
      self->tell_exit();
    });
  }

  void on_parent_ended(std::uint32_t) { tell_exit(); }

  void tell_exit() {
    VmEnding ending;
    {
      const std::lock_guard lock(mutex_);
      if (std::exchange(exit_told_, true) || let_go_) return;
      parent_watch_.reset();
      record_timer_.reset();
      channel_watch_.reset();
      ending = {.end_asked = end_asked_,
                .guest_panicked = panicked_,
                .guest_rebooted = guest_rebooted_,
                .console = ring_.tail(piece_bytes)};
    }
    {
      const std::lock_guard lock(mutex_);  // its folder may be moving
      ending.status = process_.exit_status(std::chrono::milliseconds{0});
      ending.output = process_.output();
    }
    // A cgroup that cannot be removed is found again by the start's clean-up.
    (void)process_.remove_cgroup();
    tell(events_.on_exit, to_vm_exit(ending));
  }

  VmIdentity identity_;
  VmProcess process_;
  const QemuConnections connections_;
  const std::shared_ptr<QemuControlEvents> control_;
  const VmEvents events_;

  std::recursive_mutex delivery_;  // held while a callback runs; taken before mutex_
  mutable std::mutex mutex_;
  ConsoleRing ring_;
  StreamMark ready_mark_{"NANOBOX_READY"};
  StreamMark panic_mark_{"Kernel panic - not syncing"};
  std::deque<Piece> queue_;
  std::size_t queued_bytes_ = 0;
  std::uint64_t delivered_bytes_ = 0, granted_bytes_ = 0;  // of the channel; the first is never a window ahead
  bool over_mark_ = false, ready_told_ = false, panicked_ = false, guest_rebooted_ = false;
  bool end_asked_ = false, ended_ = false, exit_told_ = false, let_go_ = false;

  std::vector<std::byte> read_buffer_;  // poller's thread only
  UniqueFd parent_;
  PollWatch console_watch_, channel_watch_, exit_watch_, parent_watch_, record_timer_;
};

Result<std::unique_ptr<Vm>> QemuVm::watch(VmIdentity identity, VmProcess process, QemuConnections connections,
                                          const std::shared_ptr<QemuControlEvents>& control, VmEvents events) {
  const auto core = std::make_shared<Core>(std::move(identity), std::move(process), std::move(connections), control,
                                           std::move(events));
  control->take_over([weak = std::weak_ptr(core)](const QmpMessage& message) {
    if (const auto self = weak.lock()) self->on_control(message);
  });
  if (auto watched = core->watch_all(); !watched) {
    core->let_go();
    core->end();
    return fail(std::move(watched).error());
  }
  return std::unique_ptr<Vm>(new QemuVm(core));
}

QemuVm::~QemuVm() {
  core_->let_go();
}
VmIdentity QemuVm::identity() const {
  return core_->identity();
}
void QemuVm::become(const std::string& id, const std::filesystem::path& run_dir) {
  core_->become(id, run_dir);
}
bool QemuVm::send_channel(std::vector<std::byte> bytes) {
  return core_->send(std::move(bytes));
}
std::size_t QemuVm::channel_queued() const {
  return core_->channel_queued();
}
void QemuVm::grant_channel(std::size_t bytes) {
  core_->grant(bytes);
}
std::string QemuVm::console_tail(std::size_t max) const {
  return core_->console_tail(max);
}
std::pair<std::string, std::uint64_t> QemuVm::console_since(std::uint64_t offset, std::size_t max) const {
  return core_->console_since(offset, max);
}
Result<void> QemuVm::stop() {
  return core_->command("stop");
}
Result<void> QemuVm::cont() {
  return core_->command("cont");
}
Result<void> QemuVm::save_state(UniqueFd file) {
  return core_->save_state(std::move(file));
}
Result<void> QemuVm::freeze_disk(UniqueFd overlay) {
  return core_->freeze_disk(std::move(overlay));
}
Result<void> QemuVm::grow_disk(std::uint64_t bytes) {
  return core_->command("block_resize", R"({"node-name":"disk","size":)" + std::to_string(bytes) + "}");
}
void QemuVm::resume_after_disk_error() {
  core_->resume();
}
void QemuVm::end() {
  core_->end();
}

}  // namespace nanobox
