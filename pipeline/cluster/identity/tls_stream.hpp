#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "config/listen_address.hpp"
#include "config/unique_fd.hpp"
#include "pipeline/cluster/byte_stream.hpp"
#include "pipeline/cluster/identity/peer_identity.hpp"
#include "pipeline/cluster/identity/tcp.hpp"
#include "pipeline/cluster/identity/tls_context.hpp"

namespace nanobox {

/// How long a stream waits.
struct StreamLimits {
  std::chrono::milliseconds idle{30'000};        ///< one read, and one write between two steps of it
  std::optional<Deadline> until = std::nullopt;  ///< everything together; nothing: no end
  std::uint32_t records_per_key = 1U << 23;  ///< AES-GCM bears 2^24.5 records of 16 KiB with one key (RFC 8446, 5.5)
};

/// Who a peer must be; nothing: whoever the CA knows.
struct PeerRule {
  std::optional<NodeRole> role = std::nullopt;
  std::optional<std::string> node_id = std::nullopt;
};

/// TLS 1.3 over a connected socket. As ByteStream says: one thread may read while another writes, any may cut.
class TlsStream : public ByteStream {
public:
  /// A stream over `socket` (non-blocking) that has not shaken hands yet, so that `cut` can end that too.
  /// @param subject  the other end, for errors: "10.0.0.7:7000"
  static Result<std::unique_ptr<TlsStream>> over(UniqueFd socket, TlsContext context, std::string subject,
                                                 StreamLimits limits = {});
  /// Closes the socket; what was written is sent, but the peer is told nothing (see `end`).
  ~TlsStream() override;

  /// Before the first read or write. A server that refuses waits up to a second for its client to hear of it.
  /// @errors peer_untrusted: another CA, no certificate, expired, or not who `rule` wants · version_incompatible: no
  ///         protocol in common · connection_lost · deadline_exceeded
  Result<void> handshake(const PeerRule& rule = {});

  /// After the handshake: who the peer is; nothing where it has shown no certificate (`TlsContext::open_server`).
  const std::optional<PeerIdentity>& peer() const { return peer_; }
  /// After the handshake: SHA-256 of the peer's public key; empty without a certificate.
  const std::string& peer_key_digest() const { return peer_key_digest_; }
  /// After the handshake: the protocol chosen by ALPN; empty where none was offered.
  const std::string& protocol() const { return protocol_; }
  const std::string& subject() const { return subject_; }

  Result<std::size_t> read(std::span<std::byte> into) override;
  Result<void> write(std::span<const std::byte> bytes) override;
  void cut() override;

  /// Ends this side in order: the peer's reads return 0 once it has all. Reading goes on. One thread: who writes.
  Result<void> end();
  /// Ends this side and drops what comes, until the peer has closed or `patience` is over: closing a socket with bytes
  /// unread would throw away what is under way to the peer.
  void linger(std::chrono::milliseconds patience);

  /// Any thread may change the limits; they hold from the next wait on.
  void set_idle(std::chrono::milliseconds idle) { idle_ms_ = idle.count(); }
  void set_deadline(std::optional<Deadline> until);

private:
  struct Ssl;
  TlsStream(UniqueFd socket, TlsContext context, std::string subject, StreamLimits limits, std::unique_ptr<Ssl> ssl);

  template <class Step>
  Result<int> drive(const char* attempted, Step step);
  Result<void> wait(const char* attempted, short events, Deadline idle_end);
  Result<void> check_peer(const PeerRule& rule);
  Deadline idle_end() const;
  Error lost(const char* attempted, std::string reason) const;
  Error failure(const char* attempted, int error, int number) const;

  const TlsContext context_;
  const UniqueFd socket_;
  const std::string subject_;
  const std::uint32_t records_per_key_;
  std::uint32_t records_ = 0;
  std::atomic<std::int64_t> idle_ms_;
  std::atomic<Deadline::rep> until_;
  std::atomic<bool> cut_ = false;
  std::mutex mutex_;  ///< OpenSSL's object is for one thread at a time; nobody waits with it held
  std::unique_ptr<Ssl> ssl_;
  std::optional<PeerIdentity> peer_;
  std::string peer_key_digest_;
  std::string protocol_;
};

/// Connects, shakes hands and checks the peer, all before `deadline`, which does not hold for the stream afterwards.
/// @errors those of tcp_connect and TlsStream::handshake
Result<std::unique_ptr<TlsStream>> tls_connect(const ListenAddress& to, TlsContext context, Deadline deadline,
                                               const PeerRule& rule = {}, StreamLimits limits = {});

}  // namespace nanobox
