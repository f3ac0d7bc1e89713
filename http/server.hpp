#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

#include "config/error.hpp"
#include "config/listen_address.hpp"
#include "http/auth.hpp"
#include "http/router.hpp"
#include "http/served_request.hpp"

namespace nanobox::http {

struct ServerTimeouts {
  std::chrono::milliseconds header{10'000};       ///< from a request's first byte to the end of its header block: 408
  std::chrono::milliseconds body_pause{20'000};   ///< longest pause between two pieces of a body: 408
  std::chrono::milliseconds body_total{600'000};  ///< the whole body: 408
  std::chrono::milliseconds idle{120'000};        ///< a connection between two requests is closed quietly
  std::chrono::milliseconds write_stall{60'000};  ///< a client that takes nothing for so long is cut off
  std::chrono::milliseconds probe{1'000};         ///< after a half-close: how often to ask whether the client is there
};

struct ServerLimits {
  std::size_t header_bytes = 64 << 10;      ///< 431 above
  std::size_t connections = 20'000;         ///< 503 above; never more than the process' file limit allows
  std::uint64_t bodies_bytes = 1ULL << 30;  ///< request bodies held at a time, all connections together: 503
};

struct ServerSettings {
  ListenAddress listen_addr{"127.0.0.1", 8080};    ///< port 0: the kernel picks one
  std::size_t threads = 0;                         ///< 0: one per core, at least 2
  std::shared_ptr<const Authenticator> auth = {};  ///< none: everybody is admin (tests)
  ServerTimeouts timeouts = {};
  ServerLimits limits = {};
  ServedRequestSink served = {};
};

/// The REST port. Everything behind it is plain values and callbacks; what speaks TCP is in http/transport.
class Server {
public:
  /// Listens and serves; raises RLIMIT_NOFILE to its hard limit first.
  /// @errors config_invalid: the address does not resolve · io_failed: it is taken or forbidden
  static Result<Server> start(ServerSettings settings, Router router);

  Server(Server&&) noexcept;
  Server& operator=(Server&&) noexcept;
  /// As `stop(0s)`.
  ~Server();

  /// The bound address, with the port the kernel picked.
  const ListenAddress& address() const;

  struct Counts {
    std::uint64_t connections = 0;  ///< open now
    std::uint64_t in_flight = 0;    ///< requests without a whole answer
    std::uint64_t requests = 0;     ///< since the start
  };
  Counts counts() const;

  /// The listener closes, requests in flight finish (at most `drain`), further ones on open connections get 503
  /// `shutting_down` with Connection: close. Then every connection is cut. Blocks; idempotent. Streams that have not
  /// ended by then see their disconnect callback.
  /// @returns whether everything in flight finished
  bool stop(std::chrono::milliseconds drain);

private:
  struct Impl;
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace nanobox::http
