// Mend 1: five functions of Pistache::Tcp::Transport, replaced at link time. The shared library calls its own exported
// symbols through the PLT, so that these definitions win. What was wrong with each stands above it.
#include "http/transport/pistache_transport.hpp"

#include <dlfcn.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>

#include <pistache/errors.h>
#include <pistache/peer.h>
#include <pistache/tcp.h>
#include <pistache/transport.h>

using nanobox::http::transport::TransportEvents;

namespace {

using Pistache::Polling::NotifyOn;

constexpr std::size_t read_piece = 64 << 10;
constexpr std::size_t read_turn = 1 << 20;  // then other connections get their turn

// Nothing can be read or written any more. Half-closed from both sides, a socket may still hold bytes to be read.
bool is_dead(int fd) {
  pollfd state{.fd = fd, .events = 0, .revents = 0};
  if (::poll(&state, 1, 0) <= 0) return false;
  if ((state.revents & (POLLERR | POLLNVAL)) != 0) return true;
  char byte = 0;
  return (state.revents & POLLHUP) != 0 && ::recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) <= 0;
}

}  // namespace

namespace Pistache::Tcp {

// Stock: drains a queue made for one consumer in whatever thread calls it; the next event ends the process.
// The push before it has woken the worker already, so there is nothing to do.
void Transport::flush() {}

// Stock: an event that is readable and writable loses the write, and an fd that is gone ends the process.
void Transport::onReady(const Aio::FdSet& fds) {
  for (const auto& entry : fds) {
    const auto tag = entry.getTag();
    if (tag == writesQueue.tag()) {
      handleWriteQueue(false);
    } else if (tag == timersQueue.tag()) {
      handleTimerQueue();
    } else if (tag == peersQueue.tag()) {
      handlePeerQueue();
    } else if (tag == notifier.tag()) {
      handleNotify();
    } else if (isTimerFd(tag)) {
      const auto timer = timers.find(static_cast<Fd>(tag.value()));
      auto ended = std::move(timer->second);
      timers.erase(timer);
      handleTimer(std::move(ended));
    } else if (isPeerFd(tag)) {
      const auto fd = static_cast<Fd>(tag.value());
      const auto peer = getPeer(fd);
      if (entry.isWritable()) {
        asyncWriteImpl(fd);
        if (auto* events = dynamic_cast<TransportEvents*>(handler_.get()); events && isPeerFd(fd))
          events->on_nudge(*peer);
      }
      if (isPeerFd(fd) && (entry.isReadable() || entry.isHangup())) handleIncoming(peer);
    }
  }
}

// Stock: reads as long as a fast client sends, whatever else waits, and takes a half-close for the end.
void Transport::handleIncoming(const std::shared_ptr<Peer>& peer) {
  const Fd fd = peer->fd();
  auto* events = dynamic_cast<TransportEvents*>(handler_.get());
  const auto again = [&] {
    reactor()->modifyFd(key(), fd, NotifyOn::Read | NotifyOn::Write | NotifyOn::Shutdown, Polling::Mode::Edge);
  };
  thread_local char buffer[read_piece];
  for (std::size_t taken = 0;;) {
    if (events && !events->wants_input(*peer)) {
      if (is_dead(fd)) handlePeerDisconnection(peer);
      return;
    }
    const ssize_t count = ::recv(fd, buffer, sizeof buffer, 0);
    if (count > 0) {
      handler_->onInput(buffer, static_cast<std::size_t>(count), peer);
      taken += static_cast<std::size_t>(count);
      if (taken < read_turn) continue;
      again();
      return;
    }
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
    if (count == 0 && events && events->on_end_of_input(*peer) && !is_dead(fd)) return;
    handlePeerDisconnection(peer);
    return;
  }
}

// Stock: a write that another thread had queued just before is delivered to whoever gets this fd's number next.
void Transport::handlePeerDisconnection(const std::shared_ptr<Peer>& peer) {
  const auto kept = peer;
  handler_->onDisconnection(kept);  // from here on nobody queues more
  handleWriteQueue(false);          // what is queued goes to this peer's own list, which ends with it
  removePeer(kept);
}

// Stock: spins at full speed while the socket's buffer is full, and every other connection of this worker waits.
void Transport::asyncWriteImpl(Fd fd) {
  const auto watch = [&](NotifyOn what) { reactor()->modifyFd(key(), fd, what, Polling::Mode::Edge); };
  auto* events = dynamic_cast<TransportEvents*>(handler_.get());
  const auto peer_of = [&]() -> std::shared_ptr<Peer> {
    const auto found = peers.find(fd);
    return found == peers.end() ? nullptr : found->second;
  };
  for (;;) {
    std::unique_lock lock(toWriteLock);
    const auto found = toWrite.find(fd);
    if (found == toWrite.end() || found->second.empty()) return;
    auto& queue = found->second;
    auto& entry = queue.front();
    auto offset = entry.buffer.offset();
    const auto begun = offset;
    const auto size = entry.buffer.size();
    const bool raw = entry.buffer.isRaw();
    const RawBuffer data = raw ? entry.buffer.raw() : RawBuffer();
    while (offset < size) {
      const ssize_t count = raw ? sendRawBuffer(fd, data.data().data() + offset, size - offset, entry.flags)
                                : sendFile(fd, entry.buffer.fd(), static_cast<off_t>(offset), size - offset);
      if (count > 0) {
        offset += static_cast<std::size_t>(count);
        continue;
      }
      if (count < 0 && errno == EINTR) continue;
      const bool full = count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
      if (!full && !raw) ::close(entry.buffer.fd());
      auto done = std::move(entry.deferred);
      auto rest = entry.buffer.detach(offset);
      const int flags = entry.flags;
      queue.pop_front();
      if (full) {
        queue.push_front(WriteEntry(std::move(done), std::move(rest), fd, flags));
        watch(NotifyOn::Read | NotifyOn::Write | NotifyOn::Shutdown);
        lock.unlock();
        if (const auto peer = peer_of(); peer && events && offset > begun) events->on_write_progress(*peer);
        return;
      }
      lock.unlock();
      done.reject(Pistache::Error::system("write"));
      if (const auto peer = peer_of(); peer && events) events->on_write_failed(*peer);
      return;
    }
    if (!raw) ::close(entry.buffer.fd());
    auto done = std::move(entry.deferred);
    queue.pop_front();
    const bool empty = queue.empty();
    lock.unlock();
    if (empty) watch(NotifyOn::Read | NotifyOn::Shutdown);
    done.resolve(static_cast<ssize_t>(size));
    if (const auto peer = peer_of(); peer && events) events->on_written(*peer);
    if (empty) return;
  }
}

}  // namespace Pistache::Tcp

namespace nanobox::http::transport {

bool transport_is_mended() {
  // What the dynamic linker gives to the shared library for one of the names above, and where this function lives.
  void* const chosen = ::dlsym(RTLD_DEFAULT, "_ZN8Pistache3Tcp9Transport14asyncWriteImplEi");
  Dl_info theirs{};
  Dl_info ours{};
  return chosen != nullptr && ::dladdr(chosen, &theirs) != 0 &&
         ::dladdr(reinterpret_cast<void*>(&transport_is_mended), &ours) != 0 && theirs.dli_fbase == ours.dli_fbase;
}

}  // namespace nanobox::http::transport
