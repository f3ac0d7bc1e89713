#pragma once

#include <future>
#include <memory>
#include <string>
#include <utility>

#include "../../store/store_folder.hpp"
#include "pipeline/cluster/identity/certificate_authority.hpp"
#include "pipeline/cluster/identity/tls_stream.hpp"

namespace nanobox::test {

/// A folder with a certificate authority in it.
struct Authority {
  StoreFolder folder;
  CertificateAuthority ca = CertificateAuthority::open_or_make(folder.path(), wall_now()).value();

  NodeIdentity identity(const std::string& node_id, NodeRole role = NodeRole::node, WallTime now = wall_now()) const {
    return ca.make_identity(node_id, role, now).value();
  }
};

inline Deadline soon(std::chrono::milliseconds patience = std::chrono::seconds(10)) {
  return std::chrono::steady_clock::now() + patience;
}

/// What became of both ends of one handshake over loopback.
struct Pair {
  Result<std::unique_ptr<TlsStream>> client;
  Result<std::unique_ptr<TlsStream>> server;
};

struct PairOptions {
  PeerRule client_rule = {};
  PeerRule server_rule = {};
  StreamLimits limits = {.idle = std::chrono::seconds(10)};
};

inline Result<std::unique_ptr<TlsStream>> accept_tls(TcpListener& listener, TlsContext context,
                                                     const PeerRule& rule = {}, StreamLimits limits = {}) {
  auto accepted = listener.accept(soon());
  if (!accepted) return fail(accepted.error());
  auto stream = TlsStream::over(std::move(accepted->socket), std::move(context), accepted->peer, limits);
  if (!stream) return stream;
  if (const auto shaken = (*stream)->handshake(rule); !shaken) return fail(shaken.error());
  return stream;
}

inline Pair shake_hands(const TlsContext& client, const TlsContext& server, const PairOptions& options = {}) {
  auto listener = TcpListener::bind({"127.0.0.1", 0}).value();
  auto accepted =
      std::async(std::launch::async, [&] { return accept_tls(listener, server, options.server_rule, options.limits); });
  auto connected = tls_connect(listener.address(), client, soon(), options.client_rule, options.limits);
  // A client in TLS 1.3 is done before the server has looked at its certificate.
  return {std::move(connected), accepted.get()};
}

}  // namespace nanobox::test
