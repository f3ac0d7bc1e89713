#include "tools/nanobox/port_tunnel.hpp"

#include <sys/socket.h>

#include <array>
#include <cerrno>

namespace nanobox::cli {
namespace {

/// For what we read on from a peer that was told the end, lest its last bytes reset what it has not read yet.
constexpr std::chrono::seconds kDrainPatience{10};

bool is_for_later(int number) {
  return number == EAGAIN || number == EWOULDBLOCK || number == EINTR;
}

}  // namespace

PortTunnel::~PortTunnel() = default;

void PortTunnel::start() {
  socket_->open([this, self = shared_from_this()](const Result<void>& opened) {
    if (!opened) {
      failed_(opened.error());
      return reset();
    }
    read_here();
    read_inside();
  });
}

void PortTunnel::read_here() {
  if (!connection_) return;
  loop_.when_readable(connection_.get(), [this, self = shared_from_this()] {
    std::array<char, 32768> buffer;
    const auto got = ::recv(connection_.get(), buffer.data(), buffer.size(), 0);
    if (got < 0 && is_for_later(errno)) return read_here();
    if (got < 0) return end();
    if (got == 0) return socket_->send({.text = true, .bytes = "{\"end\":true}"}, {});
    socket_->send({.text = false, .bytes = std::string(buffer.data(), static_cast<std::size_t>(got))},
                  [this, self] { read_here(); });
  });
}

void PortTunnel::read_inside() {
  socket_->read([this, self = shared_from_this()](WebSocket::Received received) {
    if (!connection_) return;
    if (const auto* close = std::get_if<SocketClose>(&received)) return inside_ended(*close);
    auto& message = std::get<SocketMessage>(received);
    if (!message.text) for_here_ = std::move(message.bytes);
    write_here();
  });
}

void PortTunnel::write_here() {
  if (!connection_) return;
  while (!for_here_.empty()) {
    const auto sent = ::send(connection_.get(), for_here_.data(), for_here_.size(), MSG_NOSIGNAL);
    if (sent > 0) {
      for_here_.erase(0, static_cast<std::size_t>(sent));
      continue;
    }
    if (!is_for_later(errno)) return end();
    return loop_.when_writable(connection_.get(), [this, self = shared_from_this()] { write_here(); });
  }
  read_inside();
}

void PortTunnel::inside_ended(const SocketClose& close) {
  if (close.code != SocketClose::kNormal) {
    failed_({.code = ErrorCode::connection_failed,
             .attempted = "",
             .subject = "",
             .reason = close.reason.empty() ? "the connection broke" : close.reason,
             .mend = ""});
    return reset();
  }
  ::shutdown(connection_.get(), SHUT_WR);
  loop_.forget(connection_.get());
  drain();
  loop_.after(kDrainPatience, [this, self = shared_from_this()] { end(); });
}

void PortTunnel::drain() {
  loop_.when_readable(connection_.get(), [this, self = shared_from_this()] {
    if (!connection_) return;
    std::array<char, 32768> buffer;
    const auto got = ::recv(connection_.get(), buffer.data(), buffer.size(), 0);
    if (got > 0 || (got < 0 && is_for_later(errno))) return drain();
    end();
  });
}

void PortTunnel::end() {
  if (!connection_) return;
  loop_.forget(connection_.get());
  connection_.reset();
  socket_->drop();
}

void PortTunnel::reset() {
  const linger at_once{.l_onoff = 1, .l_linger = 0};
  if (connection_) ::setsockopt(connection_.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  end();
}

}  // namespace nanobox::cli
