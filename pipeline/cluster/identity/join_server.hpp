#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "config/clock.hpp"
#include "config/error.hpp"
#include "config/listen_address.hpp"
#include "pipeline/cluster/identity/certificate_authority.hpp"
#include "pipeline/cluster/identity/join_protocol.hpp"
#include "pipeline/cluster/identity/node_identity.hpp"
#include "pipeline/cluster/identity/tcp.hpp"
#include "pipeline/cluster/identity/tls_context.hpp"
#include "pipeline/store/record_store.hpp"

namespace nanobox {

class TlsStream;

struct JoinServerSettings {
  ListenAddress address;                                 ///< port 0: the kernel picks one
  std::string control_id;                                ///< the node id in the server's own certificate
  std::string program_version;                           ///< for reasons of refusals
  std::chrono::milliseconds deadline{10'000};            ///< of one connection, handshake and all
  std::size_t connections = 8;                           ///< at once; more wait in the kernel's queue
  std::chrono::seconds lifetime = certificate_lifetime;  ///< of certificates issued
  std::function<WallTime()> now = wall_now;
};

/// Takes nodes into the cluster, and renews their certificates. A token is used up only by a request that is granted.
class JoinServer {
public:
  /// Whether a node may have the place it asks for, and which; runs on one of the server's threads, must not throw.
  /// It comes after everything else was checked; `request.token` is empty in it. In a renewal the grant must keep the
  /// node's id.
  /// @param csr_key_digest  SHA-256 of the node's public key: a known node keeps it when it comes again or renews
  /// @errors node_exists: another key has this id · whatever else it refuses with
  using Decide =
      std::function<Result<JoinGrant>(const JoinRequest& request, const std::string& csr_key_digest, bool renewal)>;

  /// Listens from now on. @errors config_invalid, io_failed: the address
  static Result<std::unique_ptr<JoinServer>> start(JoinServerSettings settings, CertificateAuthority authority,
                                                   std::shared_ptr<RecordStore> store, Decide decide);
  /// Cuts what is going on; waits only for a `Decide` that runs.
  ~JoinServer();
  JoinServer(const JoinServer&) = delete;
  JoinServer& operator=(const JoinServer&) = delete;

  /// With the port it has.
  const ListenAddress& address() const { return listener_.address(); }

private:
  JoinServer(JoinServerSettings settings, CertificateAuthority authority, std::shared_ptr<RecordStore> store,
             Decide decide, TcpListener listener, NodeIdentity identity, TlsContext context);

  void work(std::size_t slot);
  void serve(std::size_t slot, TcpAccepted accepted);
  void converse(TlsStream& stream);
  bool enter(std::size_t slot, TlsStream* stream);
  TlsContext context();
  Result<JoinAnswer> consider(const TlsStream& stream, std::string_view message);
  Result<void> check_renewal(const TlsStream& stream, const JoinRequest& request) const;
  Result<JoinAnswer> admit(const JoinRequest& request, const SigningRequest& csr, bool renewal) const;

  const JoinServerSettings settings_;
  const CertificateAuthority authority_;
  const std::shared_ptr<RecordStore> store_;
  const Decide decide_;
  TcpListener listener_;
  std::mutex mutex_;
  NodeIdentity identity_;              ///< guarded
  TlsContext context_;                 ///< guarded; of `identity_`
  std::vector<TlsStream*> streams_;    ///< guarded; each thread's own, null between two
  bool stopping_ = false;              ///< guarded
  std::vector<std::jthread> threads_;  ///< last: they use everything above
};

}  // namespace nanobox
