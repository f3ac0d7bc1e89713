#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

#include "http/resources/guest_client.hpp"

namespace nanobox::http {

/// From a guest to a client: credit goes back to the guest as what was made of its bytes leaves for the client.
class OutputPace {
public:
  OutputPace(GuestClient::Post post, std::function<void(std::size_t)> grant)
      : post_(std::move(post)), grant_(std::move(grant)) {}
  OutputPace(const OutputPace&) = delete;
  OutputPace& operator=(const OutputPace&) = delete;

  /// After a write to `connection` (Stream, RawConnection, WebSocket).
  /// @param room    what that write answered
  /// @param credit  bytes of the guest's that it was made of
  template <class Connection>
  void wrote(Connection& connection, bool room, std::size_t credit) {
    owed_ += credit;
    if (!writable_) return;
    if (room) return grant_(std::exchange(owed_, 0));
    writable_ = false;
    connection.on_writable([this, post = post_, alive = std::weak_ptr(alive_)] {
      // On the actor's thread, where this object dies too.
      post([this, alive] {
        if (alive.expired()) return;
        writable_ = true;
        grant_(std::exchange(owed_, 0));
      });
    });
  }
  /// Whether the client takes more now.
  bool has_room() const { return writable_; }

private:
  const GuestClient::Post post_;
  const std::function<void(std::size_t)> grant_;
  std::size_t owed_ = 0;
  bool writable_ = true;
  const std::shared_ptr<const bool> alive_ = std::make_shared<const bool>(true);
};

/// From a client to a guest: what was written to the guest counts as digested once it no longer waits here.
class InputPace {
public:
  void wrote(std::size_t bytes) { written_ += bytes; }
  /// @param connection  gets back the credit for what has left since the last call (its `consumed`)
  template <class Connection>
  void on_window(const StdinWindow& window, Connection& connection) {
    const auto gone = written_ - std::min<std::uint64_t>(window.queued, written_);
    if (gone > consumed_) connection.consumed(gone - std::exchange(consumed_, gone));
  }

private:
  std::uint64_t written_ = 0;
  std::uint64_t consumed_ = 0;
};

}  // namespace nanobox::http
