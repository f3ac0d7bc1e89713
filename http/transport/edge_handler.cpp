#include "http/transport/edge_handler.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pistache/peer.h>
#include <pistache/transport.h>
#include <sys/socket.h>

#include <cstring>

#include "config/log.hpp"
#include "http/transport/connection.hpp"

namespace nanobox::http::transport {
namespace {

constexpr const char* slot = "nanobox-connection";

PeerAddress address_of(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (::getpeername(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return {};
  char text[INET6_ADDRSTRLEN] = "";
  in_addr four{};
  if (address.ss_family == AF_INET) {
    four = reinterpret_cast<const sockaddr_in&>(address).sin_addr;
  } else if (address.ss_family == AF_INET6) {
    const auto& six = reinterpret_cast<const sockaddr_in6&>(address).sin6_addr;
    if (!IN6_IS_ADDR_V4MAPPED(&six)) {
      ::inet_ntop(AF_INET6, &six, text, sizeof text);
      return {.text = text, .is_loopback = IN6_IS_ADDR_LOOPBACK(&six) != 0};
    }
    std::memcpy(&four, six.s6_addr + 12, sizeof four);
  } else {
    return {};
  }
  ::inet_ntop(AF_INET, &four, text, sizeof text);
  return {.text = text, .is_loopback = ntohl(four.s_addr) >> 24 == 127};
}

std::shared_ptr<Connection> connection_of(const Pistache::Tcp::Peer& peer) {
  return std::static_pointer_cast<Connection>(peer.tryGetData(slot));
}

// Runs `work` for the peer's connection; a failure (out of memory) costs this connection only.
template <class Work>
auto guarded(Pistache::Tcp::Peer& peer, Work work) -> decltype(work(std::declval<Connection&>())) {
  const auto connection = connection_of(peer);
  try {
    if (connection) return work(*connection);
  } catch (const std::exception& wrong) {
    log_error(LogComponent::http, {}, "a connection failed inside the server: {}", wrong.what());
    connection->cut();
  }
  if constexpr (!std::is_void_v<decltype(work(std::declval<Connection&>()))>) return {};
}

}  // namespace

void EdgeHandler::onConnection(const std::shared_ptr<Pistache::Tcp::Peer>& peer) {
  auto connection = std::make_shared<Connection>(hub_, hub_->next_id(), address_of(peer->fd()), peer, transport());
  peer->putData(slot, connection);
  hub_->enter(connection);
}

void EdgeHandler::onInput(const char* buffer, std::size_t size, const std::shared_ptr<Pistache::Tcp::Peer>& peer) {
  guarded(*peer, [&](Connection& connection) { connection.on_input({buffer, size}); });
}

void EdgeHandler::onDisconnection(const std::shared_ptr<Pistache::Tcp::Peer>& peer) {
  guarded(*peer, [](Connection& connection) { connection.on_gone(); });
}

bool EdgeHandler::wants_input(Pistache::Tcp::Peer& peer) {
  return guarded(peer, [](Connection& connection) { return connection.wants_input(); });
}

bool EdgeHandler::on_end_of_input(Pistache::Tcp::Peer& peer) {
  return guarded(peer, [](Connection& connection) { return connection.on_end_of_input(); });
}

void EdgeHandler::on_written(Pistache::Tcp::Peer& peer) {
  guarded(peer, [](Connection& connection) { connection.on_written(); });
}

void EdgeHandler::on_write_progress(Pistache::Tcp::Peer& peer) {
  guarded(peer, [](Connection& connection) { connection.on_progress(); });
}

void EdgeHandler::on_write_failed(Pistache::Tcp::Peer& peer) {
  guarded(peer, [](Connection& connection) { connection.cut(); });
}

void EdgeHandler::on_nudge(Pistache::Tcp::Peer& peer) {
  guarded(peer, [](Connection& connection) { connection.on_nudge(); });
}

}  // namespace nanobox::http::transport
