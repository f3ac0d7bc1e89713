#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "config/unique_fd.hpp"
#include "pipeline/boot/network/dns/event_loop.hpp"
#include "pipeline/boot/network/dns/fair_share.hpp"

namespace nanobox {

struct DnsTcpSettings {
  std::size_t connections = 256;
  std::size_t connections_per_client = 4;
  std::chrono::milliseconds idle{10'000};  ///< for the next whole message to come, or an answer to be taken
};

/// Clients' messages over TCP, each with its length before it (RFC 1035 section 4.2.2, RFC 7766). What a client does
/// not do in time ends its connection, and nothing else.
class DnsTcpServer {
public:
  /// Every message is answered with `send` or `close`, now or later. @param client  IPv4 address in host byte order
  using OnMessage = std::function<void(std::uint64_t connection, std::uint32_t client, std::vector<std::byte> message)>;
  /// Whether a connection is worth having.
  using Knows = std::function<bool(std::uint32_t client)>;

  DnsTcpServer(EventLoop& loop, const DnsTcpSettings& settings, Knows knows, OnMessage on_message);
  DnsTcpServer(const DnsTcpServer&) = delete;
  DnsTcpServer& operator=(const DnsTcpServer&) = delete;

  /// Takes a bound socket and listens. @errors io_failed
  Result<void> listen(UniqueFd socket);
  /// Of a connection that is gone: nothing. Calls nothing back before it returns.
  void send(std::uint64_t connection, std::span<const std::byte> message);
  void close(std::uint64_t connection);

private:
  struct Connection {
    std::uint32_t client = 0;
    UniqueFd socket;
    LoopWatch watch, timer, turn;
    std::vector<std::byte> in, out;
    std::size_t pending = 0;  ///< messages not answered
    bool ended = false;       ///< the client sends no more
    bool handing_over = false;
  };
  struct Listener {
    UniqueFd socket;
    LoopWatch watch, pause;
  };

  void accept_from(Listener& listener);
  void accept_one(UniqueFd socket, std::uint32_t client);
  bool make_room_for(std::uint32_t client);
  void on_event(std::uint64_t id, std::uint32_t events);
  bool read(Connection& connection);
  bool hand_over_message(std::uint64_t id);
  bool write(Connection& connection);
  void go_on(std::uint64_t id);
  void restart_timer(std::uint64_t id, Connection& connection);
  void on_timer(std::uint64_t id);

  EventLoop& loop_;
  DnsTcpSettings settings_;
  Knows knows_;
  OnMessage on_message_;
  FairShare share_;
  std::uint64_t next_id_ = 1;
  std::vector<std::unique_ptr<Listener>> listeners_;
  std::map<std::uint64_t, Connection> connections_;  ///< the oldest first
};

}  // namespace nanobox
