#pragma once

#include <pistache/prototype.h>
#include <pistache/tcp.h>

#include <memory>

#include "http/transport/hub.hpp"
#include "http/transport/pistache_transport.hpp"

namespace nanobox::http::transport {

/// Where Pistache hands over: peers become connections. Copied for each worker. Nothing leaves it by exception, which
/// would end the process.
class EdgeHandler final : public Pistache::Tcp::Handler, public TransportEvents {
  PROTOTYPE_OF(Pistache::Tcp::Handler, EdgeHandler)

public:
  explicit EdgeHandler(std::shared_ptr<Hub> hub) : hub_(std::move(hub)) {}

  void onConnection(const std::shared_ptr<Pistache::Tcp::Peer>& peer) override;
  void onInput(const char* buffer, std::size_t size, const std::shared_ptr<Pistache::Tcp::Peer>& peer) override;
  void onDisconnection(const std::shared_ptr<Pistache::Tcp::Peer>& peer) override;

  bool wants_input(Pistache::Tcp::Peer& peer) override;
  bool on_end_of_input(Pistache::Tcp::Peer& peer) override;
  void on_written(Pistache::Tcp::Peer& peer) override;
  void on_write_progress(Pistache::Tcp::Peer& peer) override;
  void on_write_failed(Pistache::Tcp::Peer& peer) override;
  void on_nudge(Pistache::Tcp::Peer& peer) override;

private:
  std::shared_ptr<Hub> hub_;
};

}  // namespace nanobox::http::transport
