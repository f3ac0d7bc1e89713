#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "config/error.hpp"
#include "config/listen_address.hpp"
#include "config/unique_fd.hpp"

namespace nanobox {

/// A moment on the clock that nobody sets.
using Deadline = std::chrono::steady_clock::time_point;

/// Connects to the first address of `host` that answers. Looking a name up takes as long as the host's resolver lets
/// it; an address needs no looking up. @returns a non-blocking socket with TCP_NODELAY and keep-alive
/// @errors connection_refused · connection_failed: no such host, no way there · deadline_exceeded; all transient
Result<UniqueFd> tcp_connect(const ListenAddress& to, Deadline deadline);

struct TcpAccepted {
  UniqueFd socket;   ///< non-blocking, with TCP_NODELAY and keep-alive
  std::string peer;  ///< "10.0.0.7:40122"
};

/// Waits for connections on one address. Any number of threads may accept.
class TcpListener {
public:
  /// Port 0: the kernel picks one, see `address`. @errors config_invalid: no such host · io_failed
  static Result<TcpListener> bind(const ListenAddress& address);

  /// With the port it has.
  const ListenAddress& address() const { return address_; }

  /// Waits for the next connection, without a deadline for ever.
  /// @errors deadline_exceeded · cancelled: after `wake` · io_failed
  Result<TcpAccepted> accept(std::optional<Deadline> deadline = std::nullopt);

  /// Ends every `accept`, now and later. Any thread may call it.
  void wake();

private:
  TcpListener(ListenAddress address, UniqueFd socket, UniqueFd wake)
      : address_(std::move(address)), socket_(std::move(socket)), wake_(std::move(wake)) {}

  ListenAddress address_;
  UniqueFd socket_;
  UniqueFd wake_;
};

/// How long poll(2) may wait until `deadline`, in its milliseconds: rounded up, 0 where it has passed.
int poll_patience(Deadline deadline);

}  // namespace nanobox
