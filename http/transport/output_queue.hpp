#pragma once

#include <chrono>
#include <cstddef>
#include <deque>
#include <memory>
#include <mutex>
#include <string>

namespace Pistache::Tcp {
class Peer;
class Transport;
}  // namespace Pistache::Tcp

namespace nanobox::http::transport {

/// Mend 4: a connection's way out, with credit. Pistache gets at most 256 KiB at a time, in pieces of 64 KiB; the rest
/// waits here, so that nothing copies a large answer and a stalled client holds little. Thread-safe.
class OutputQueue {
public:
  static constexpr std::size_t credit = 256 << 10;
  static constexpr std::size_t piece = 64 << 10;

  /// `transport` is the worker that the peer belongs to; it must live until `close`.
  OutputQueue(std::weak_ptr<Pistache::Tcp::Peer> peer, Pistache::Tcp::Transport* transport);

  /// Appends bytes and hands over what there is credit for.
  void push(std::string bytes);
  /// The oldest piece has left (worker).
  void on_written();
  /// Part of it has left (worker).
  void on_progress();

  /// Bytes pushed that have not left.
  std::size_t outstanding() const;
  /// Since when nothing has left although something is outstanding.
  std::chrono::steady_clock::time_point waiting_since() const;

  /// Nothing reaches the peer from now on: its fd may soon be another client's.
  void close();
  /// Half or whole shutdown(2) of the socket, unless closed. `how` as there.
  void shut_down(int how);
  /// Has the worker call `TransportEvents::on_nudge` for this peer, and look for input again.
  void nudge();

private:
  void pump();

  std::weak_ptr<Pistache::Tcp::Peer> peer_;
  Pistache::Tcp::Transport* transport_;
  mutable std::mutex mutex_;
  std::deque<std::string> waiting_;
  std::size_t front_offset_ = 0;
  std::deque<std::size_t> handed_over_;
  std::size_t waiting_bytes_ = 0;
  std::size_t handed_bytes_ = 0;
  std::chrono::steady_clock::time_point last_progress_{};
  bool closed_ = false;
};

}  // namespace nanobox::http::transport
