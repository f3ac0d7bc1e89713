#include "pipeline/boot/network/dns/tcp_server.hpp"

#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "pipeline/boot/network/dns/message.hpp"

namespace nanobox {

namespace {

constexpr std::size_t kQueryMax = 4096;
constexpr std::size_t kPendingMax = 8;
constexpr std::size_t kOutMax = kDnsMessageMax;
constexpr int kAcceptedAtOnce = 16;
constexpr std::chrono::milliseconds kPause{100};

std::size_t length_at_front(std::span<const std::byte> in) {
  return std::to_integer<std::size_t>(in[0]) << 8 | std::to_integer<std::size_t>(in[1]);
}

bool is_of_client(int number) {
  return number == ECONNABORTED || number == EINTR || number == EPROTO;
}

}  // namespace

DnsTcpServer::DnsTcpServer(EventLoop& loop, const DnsTcpSettings& settings, Knows knows, OnMessage on_message)
    : loop_(loop),
      settings_(settings),
      knows_(std::move(knows)),
      on_message_(std::move(on_message)),
      share_(settings.connections, settings.connections_per_client) {}

Result<void> DnsTcpServer::listen(UniqueFd socket) {
  if (::listen(socket.get(), SOMAXCONN) != 0) return fail(errno_error(errno, "listen for DNS over TCP", ""));
  auto& listener = *listeners_.emplace_back(std::make_unique<Listener>());
  listener.socket = std::move(socket);
  listener.watch =
      NANOBOX_TRY(loop_.watch(listener.socket.get(), EPOLLIN, [this, &listener](auto) { accept_from(listener); }));
  return {};
}

void DnsTcpServer::accept_from(Listener& listener) {
  for (int i = 0; i < kAcceptedAtOnce; ++i) {
    sockaddr_in from{};
    socklen_t length = sizeof from;
    UniqueFd socket(
        ::accept4(listener.socket.get(), reinterpret_cast<sockaddr*>(&from), &length, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (socket) {
      if (from.sin_family == AF_INET) accept_one(std::move(socket), ntohl(from.sin_addr.s_addr));
    } else if (errno == EAGAIN) {
      return;
    } else if (!is_of_client(errno)) {  // no descriptors: who waits stays in the kernel's queue
      listener.watch.want(0);
      listener.pause = loop_.after(kPause, [&listener] { listener.watch.want(EPOLLIN); });
      return;
    }
  }
}

void DnsTcpServer::accept_one(UniqueFd socket, std::uint32_t client) {
  if (!knows_(client) || !make_room_for(client)) return;
  const auto id = next_id_++;
  auto watch = loop_.watch(socket.get(), EPOLLIN, [this, id](auto events) { on_event(id, events); });
  if (!watch) return;
  auto& connection = connections_[id];
  connection.client = client;
  connection.socket = std::move(socket);
  connection.watch = std::move(*watch);
  share_.add(client);
  restart_timer(id, connection);
}

bool DnsTcpServer::make_room_for(std::uint32_t client) {
  const auto admission = share_.ask(client);
  if (admission.verdict == FairShare::Verdict::displace)
    close(
        std::ranges::find(connections_, admission.displaced, [](const auto& one) { return one.second.client; })->first);
  return admission.verdict != FairShare::Verdict::refuse;
}

void DnsTcpServer::send(std::uint64_t id, std::span<const std::byte> message) {
  const auto found = connections_.find(id);
  if (found == connections_.end()) return;
  auto& connection = found->second;
  connection.out.push_back(static_cast<std::byte>(message.size() >> 8));
  connection.out.push_back(static_cast<std::byte>(message.size()));
  connection.out.insert(connection.out.end(), message.begin(), message.end());
  --connection.pending;
  if (!connection.handing_over)
    connection.turn = loop_.after(std::chrono::milliseconds::zero(), [this, id] { go_on(id); });
}

void DnsTcpServer::close(std::uint64_t id) {
  const auto found = connections_.find(id);
  if (found == connections_.end()) return;
  share_.remove(found->second.client);
  connections_.erase(found);
}

void DnsTcpServer::on_event(std::uint64_t id, std::uint32_t events) {
  const auto found = connections_.find(id);
  if (found == connections_.end()) return;
  if ((events & (EPOLLERR | EPOLLHUP)) != 0 || ((events & EPOLLIN) != 0 && !read(found->second))) return close(id);
  go_on(id);
}

bool DnsTcpServer::read(Connection& connection) {
  std::array<std::byte, 4096> bytes;
  const auto count = ::recv(connection.socket.get(), bytes.data(), bytes.size(), 0);
  if (count < 0) return errno == EAGAIN || errno == EINTR;
  connection.ended = count == 0;
  connection.in.insert(connection.in.end(), bytes.begin(), bytes.begin() + count);
  return true;
}

/// Whether there may be another one.
bool DnsTcpServer::hand_over_message(std::uint64_t id) {
  const auto found = connections_.find(id);
  if (found == connections_.end()) return false;
  auto& connection = found->second;
  auto& in = connection.in;
  if (connection.pending >= kPendingMax || connection.out.size() > kOutMax || in.size() < 2) return false;
  const auto length = length_at_front(in);
  if (length > kQueryMax) {
    close(id);
    return false;
  }
  if (in.size() < 2 + length) return false;
  const auto end = in.begin() + 2 + static_cast<std::ptrdiff_t>(length);
  std::vector<std::byte> message(in.begin() + 2, end);
  in.erase(in.begin(), end);
  ++connection.pending;
  restart_timer(id, connection);
  connection.handing_over = true;
  on_message_(id, connection.client, std::move(message));
  if (const auto still = connections_.find(id); still != connections_.end()) still->second.handing_over = false;
  return true;
}

bool DnsTcpServer::write(Connection& connection) {
  const auto count = ::send(connection.socket.get(), connection.out.data(), connection.out.size(), MSG_NOSIGNAL);
  if (count < 0) return errno == EAGAIN || errno == EINTR;
  connection.out.erase(connection.out.begin(), connection.out.begin() + count);
  return true;
}

/// Does what can be done, and waits for what can go on.
void DnsTcpServer::go_on(std::uint64_t id) {
  while (hand_over_message(id)) {
  }
  const auto found = connections_.find(id);
  if (found == connections_.end()) return;
  auto& connection = found->second;
  if (!connection.out.empty()) {
    if (!write(connection)) return close(id);
    if (connection.out.empty()) restart_timer(id, connection);
  }
  if (connection.ended && connection.pending == 0 && connection.out.empty()) return close(id);
  const bool reads = !connection.ended && connection.pending < kPendingMax && connection.out.size() <= kOutMax;
  connection.watch.want((reads ? EPOLLIN : 0U) | (connection.out.empty() ? 0U : EPOLLOUT));
}

void DnsTcpServer::restart_timer(std::uint64_t id, Connection& connection) {
  connection.timer = loop_.after(settings_.idle, [this, id] { on_timer(id); });
}

void DnsTcpServer::on_timer(std::uint64_t id) {
  const auto found = connections_.find(id);
  if (found == connections_.end()) return;
  auto& connection = found->second;
  const bool waits_for_us = connection.pending > 0 && connection.out.empty();
  return waits_for_us ? restart_timer(id, connection) : close(id);
}

}  // namespace nanobox
