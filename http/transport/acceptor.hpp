#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <thread>

#include "config/error.hpp"
#include "config/listen_address.hpp"
#include "config/unique_fd.hpp"

namespace nanobox::http::transport {

/// Listens and accepts on a thread of its own. Unlike Pistache's listener it can be closed while what runs goes on,
/// and being out of file descriptors neither makes it spin nor leaves clients hanging.
class Acceptor {
public:
  /// Given each connected socket (non-blocking, close-on-exec), on the acceptor's thread.
  using Taker = std::function<void(UniqueFd)>;

  /// @errors config_invalid: the address does not resolve · io_failed: it is taken or forbidden
  static Result<std::unique_ptr<Acceptor>> listen(const ListenAddress& address, Taker taker);
  ~Acceptor();
  Acceptor(const Acceptor&) = delete;
  Acceptor& operator=(const Acceptor&) = delete;

  /// With the port that the kernel picked.
  const ListenAddress& address() const { return address_; }
  /// Closes the listener. Idempotent.
  void close();

private:
  Acceptor(ListenAddress address, UniqueFd listener, UniqueFd wake, UniqueFd spare, Taker taker);
  void run();

  ListenAddress address_;
  UniqueFd listener_;
  UniqueFd wake_;
  UniqueFd spare_;  ///< given up for a moment to turn a client away when there are no descriptors left
  Taker taker_;
  std::thread thread_;
};

/// A short 503 problem for a client that cannot be served, written at once without waiting.
void turn_away(UniqueFd socket);

/// Raises RLIMIT_NOFILE to its hard limit. @returns the limit that holds now
std::uint64_t raise_file_limit();

}  // namespace nanobox::http::transport
