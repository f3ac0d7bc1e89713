#pragma once

#include <memory>
#include <string>
#include <vector>

#include "config/error.hpp"
#include "pipeline/cluster/identity/node_identity.hpp"

namespace nanobox {

/// Whom one end of a TLS connection trusts and who it says it is. TLS 1.3 only, no resumption: each connection looks at
/// the peer's certificate anew. Copies share it; any thread may use it.
class TlsContext {
public:
  /// A client without a certificate that trusts a server only when the key of its CA has this digest
  /// (`CertificateAuthority::key_digest`). `alpn`: the protocol it wants to speak; empty: none.
  static Result<TlsContext> pinned_client(std::string ca_key_digest, std::string alpn = {});
  /// Both ends show a certificate of this identity's CA.
  static Result<TlsContext> mutual_client(const NodeIdentity& identity, std::string alpn = {});
  /// `alpn`: the protocols it speaks, the best first; a client that speaks none of them is refused. Empty: any client.
  static Result<TlsContext> mutual_server(const NodeIdentity& identity, std::vector<std::string> alpn = {});
  /// As mutual_server, but a client may come without a certificate: `TlsStream::peer` is nothing then.
  static Result<TlsContext> open_server(const NodeIdentity& identity, std::vector<std::string> alpn = {});

  struct State;
  const State& state() const { return *state_; }

private:
  explicit TlsContext(std::shared_ptr<const State> state) : state_(std::move(state)) {}
  std::shared_ptr<const State> state_;
};

}  // namespace nanobox
