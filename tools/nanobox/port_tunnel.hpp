#pragma once

#include <functional>
#include <memory>
#include <string>

#include "config/error.hpp"
#include "config/unique_fd.hpp"
#include "tools/nanobox/event_loop.hpp"
#include "tools/nanobox/websocket.hpp"

namespace nanobox::cli {

/// One connection of ours joined with one inside: bytes both ways at the speed of the slower end, each end's end of
/// data passed on. Lives in its loop until both are through.
class PortTunnel : public std::enable_shared_from_this<PortTunnel> {
public:
  /// @param connection  a non-blocking socket @param failed  called at most once, with why there is no connection
  /// inside
  PortTunnel(EventLoop& loop, UniqueFd connection, std::shared_ptr<WebSocket> socket,
             std::function<void(const Error&)> failed)
      : loop_(loop), connection_(std::move(connection)), socket_(std::move(socket)), failed_(std::move(failed)) {}
  ~PortTunnel();
  void start();

private:
  void read_here();
  void read_inside();
  void write_here();
  void inside_ended(const SocketClose& close);
  void drain();
  void end();
  void reset();

  EventLoop& loop_;
  UniqueFd connection_;
  std::shared_ptr<WebSocket> socket_;
  std::function<void(const Error&)> failed_;
  std::string for_here_;
};

}  // namespace nanobox::cli
