#pragma once

#include <string>

#include "pipeline/cluster/identity/openssl_handles.hpp"
#include "pipeline/cluster/identity/tls_context.hpp"

namespace nanobox {

/// OpenSSL's view of a TlsContext. Its callbacks refer to it: it stays where it is.
struct TlsContext::State {
  SslContextHandle context;
  bool is_server = false;
  bool needs_peer = true;     ///< a peer without a certificate is refused
  std::string ca_key_digest;  ///< pinned client only
  std::string alpn;           ///< as on the wire: each name behind its length
};

}  // namespace nanobox
