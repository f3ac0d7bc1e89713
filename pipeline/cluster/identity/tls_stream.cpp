#include "pipeline/cluster/identity/tls_stream.hpp"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>
#include <utility>

#include "pipeline/cluster/identity/certificate.hpp"
#include "pipeline/cluster/identity/socket_bio.hpp"
#include "pipeline/cluster/identity/tls_state.hpp"

namespace nanobox {

namespace {

constexpr std::size_t kRecord = SSL3_RT_MAX_PLAIN_LENGTH;
// Longer reads would keep the writing thread from OpenSSL's object.
constexpr std::size_t kReadAtOnce = std::size_t{128} << 10;
constexpr std::chrono::milliseconds kRefusalPatience{1000};

bool is_refused_certificate(int reason) {
  switch (reason) {
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
    case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
    case SSL_R_TLSV1_ALERT_DECRYPT_ERROR:
    case SSL_R_TLSV1_ALERT_ACCESS_DENIED:
      return true;
    default:
      return false;
  }
}

bool is_other_version(int reason) {
  switch (reason) {
    case SSL_R_NO_APPLICATION_PROTOCOL:
    case SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL:
    case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
    case SSL_R_UNSUPPORTED_PROTOCOL:
      return true;
    default:
      return false;
  }
}

std::pair<std::string, std::string> untrusted(long verdict) {
  switch (verdict) {
    case X509_V_ERR_APPLICATION_VERIFICATION:
      return {"it belongs to another cluster: the key of its certificate authority is not the one that was named",
              "take a token of the cluster that this address belongs to"};
    case X509_V_ERR_CERT_NOT_YET_VALID:
    case X509_V_ERR_CERT_HAS_EXPIRED:
      return {std::string("of its certificate: ") + ::X509_verify_cert_error_string(verdict),
              "compare the clocks of both hosts; a node that was away for long must join again"};
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
      return {"its certificate is not of this cluster", "see that both nodes have joined the same cluster"};
    default:
      return {std::string("of its certificate: ") + ::X509_verify_cert_error_string(verdict), ""};
  }
}

}  // namespace

struct TlsStream::Ssl {
  SslHandle handle;
};

Result<std::unique_ptr<TlsStream>> TlsStream::over(UniqueFd socket, TlsContext context, std::string subject,
                                                   StreamLimits limits) {
  auto ssl = std::make_unique<Ssl>();
  ssl->handle.reset(::SSL_new(context.state().context.get()));
  auto bio = socket_bio(socket.get());
  if (!ssl->handle || !bio) return fail(openssl_error("set TLS up", subject));
  auto* both = bio.release();
  ::SSL_set_bio(ssl->handle.get(), both, both);
  if (context.state().is_server)
    ::SSL_set_accept_state(ssl->handle.get());
  else
    ::SSL_set_connect_state(ssl->handle.get());
  return std::unique_ptr<TlsStream>(
      new TlsStream(std::move(socket), std::move(context), std::move(subject), limits, std::move(ssl)));
}

TlsStream::TlsStream(UniqueFd socket, TlsContext context, std::string subject, StreamLimits limits,
                     std::unique_ptr<Ssl> ssl)
    : context_(std::move(context)),
      socket_(std::move(socket)),
      subject_(std::move(subject)),
      records_per_key_(limits.records_per_key),
      idle_ms_(limits.idle.count()),
      ssl_(std::move(ssl)) {
  set_deadline(limits.until);
}

TlsStream::~TlsStream() = default;

void TlsStream::set_deadline(std::optional<Deadline> until) {
  until_ = until.value_or(Deadline::max()).time_since_epoch().count();
}

Deadline TlsStream::idle_end() const {
  return std::chrono::steady_clock::now() + std::chrono::milliseconds(idle_ms_.load());
}

Error TlsStream::lost(const char* attempted, std::string reason) const {
  return {.code = ErrorCode::connection_lost,
          .attempted = attempted,
          .subject = subject_,
          .reason = cut_ ? "it was cut" : std::move(reason),
          .mend = "",
          .transient = true};
}

Error TlsStream::failure(const char* attempted, int error, int number) const {
  if (error == SSL_ERROR_ZERO_RETURN) return lost(attempted, "the other end has ended it");
  if (error == SSL_ERROR_SYSCALL)
    return lost(attempted, number == 0 ? "it broke off" : std::generic_category().message(number));
  const auto code = ::ERR_peek_error();
  const int reason = ERR_GET_REASON(code);
  if (cut_ || ERR_GET_LIB(code) != ERR_LIB_SSL) return lost(attempted, "TLS failed");
  Error answer{.code = ErrorCode::peer_untrusted,
               .attempted = attempted,
               .subject = subject_,
               .reason = "",
               .mend = "see that both nodes have joined the same cluster"};
  if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED) {
    std::tie(answer.reason, answer.mend) = untrusted(::SSL_get_verify_result(ssl_->handle.get()));
  } else if (reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE) {
    answer.reason = "it shows no certificate";
  } else if (is_refused_certificate(reason)) {
    answer.reason = std::string("it does not accept this node's certificate: ") + ::ERR_reason_error_string(code);
  } else if (is_other_version(reason)) {
    answer.code = ErrorCode::version_incompatible;
    answer.reason = "no protocol in common";
    answer.mend = "run the same version of NanoBox on both nodes";
  } else {
    const char* text = ::ERR_reason_error_string(code);
    return lost(attempted, reason == SSL_R_UNEXPECTED_EOF_WHILE_READING ? "it broke off"
                           : text != nullptr                            ? text
                                                                        : "TLS failed");
  }
  return answer;
}

Result<void> TlsStream::wait(const char* attempted, short events, Deadline idle_end) {
  pollfd watched{.fd = socket_.get(), .events = events, .revents = 0};
  for (;;) {
    const Deadline until{Deadline::duration(until_.load())};
    const int ready = ::poll(&watched, 1, poll_patience(std::min(until, idle_end)));
    if (ready > 0) return {};
    if (ready < 0 && errno != EINTR) return fail(lost(attempted, std::generic_category().message(errno)));
    if (ready == 0)
      return fail({.code = ErrorCode::deadline_exceeded,
                   .attempted = attempted,
                   .subject = subject_,
                   .reason = until <= idle_end ? "it took too long" : "nothing went for too long",
                   .mend = "",
                   .transient = true});
  }
}

// Runs `step` until it is done. @returns what it does; 0: the peer has ended its side
template <class Step>
Result<int> TlsStream::drive(const char* attempted, Step step) {
  const auto end = idle_end();
  for (;;) {
    if (cut_) return fail(lost(attempted, ""));
    int error = SSL_ERROR_NONE;
    {
      const std::lock_guard lock(mutex_);
      ::ERR_clear_error();
      errno = 0;
      const int done = step(ssl_->handle.get());
      const int number = errno;
      if (done > 0) return done;
      error = ::SSL_get_error(ssl_->handle.get(), done);
      if (error == SSL_ERROR_ZERO_RETURN) return 0;
      if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) {
        auto why = failure(attempted, error, number);
        ::ERR_clear_error();
        return fail(std::move(why));
      }
    }
    NANOBOX_TRY(wait(attempted, error == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT, end));
  }
}

Result<void> TlsStream::handshake(const PeerRule& rule) {
  const auto shaken = drive("shake hands with", [](SSL* ssl) { return ::SSL_do_handshake(ssl); });
  if (!shaken) {
    if (context_.state().is_server && shaken.error().code != ErrorCode::deadline_exceeded) linger(kRefusalPatience);
    return fail(shaken.error());
  }
  if (*shaken == 0) return fail(lost("shake hands with", "the other end has ended it"));
  return check_peer(rule);
}

Result<void> TlsStream::check_peer(const PeerRule& rule) {
  const auto refuse = [&](ErrorCode code, std::string reason) {
    return fail(
        {.code = code, .attempted = "shake hands with", .subject = subject_, .reason = std::move(reason), .mend = {}});
  };
  const unsigned char* chosen = nullptr;
  unsigned size = 0;
  ::SSL_get0_alpn_selected(ssl_->handle.get(), &chosen, &size);
  if (size != 0) protocol_.assign(reinterpret_cast<const char*>(chosen), size);
  if (protocol_.empty() && !context_.state().alpn.empty())
    return refuse(ErrorCode::version_incompatible, "it names no protocol that it speaks");
  if (auto* shown = ::SSL_get0_peer_certificate(ssl_->handle.get())) {
    const auto certificate = NANOBOX_TRY(Certificate::share(shown));
    peer_ = NANOBOX_TRY(certificate.identity());
    peer_key_digest_ = certificate.key_digest();
  } else if (context_.state().needs_peer) {
    return refuse(ErrorCode::peer_untrusted, "it shows no certificate");
  }
  if (rule.role && (!peer_ || peer_->role != *rule.role))
    return refuse(ErrorCode::peer_untrusted, "it is no " + std::string(to_string(*rule.role)) + " of the cluster" +
                                                 (*rule.role == NodeRole::control ? " that may control it" : ""));
  if (rule.node_id && (!peer_ || peer_->node_id != *rule.node_id))
    return refuse(
        ErrorCode::peer_untrusted,
        "it is " + (peer_ ? "node '" + peer_->node_id + "'" : std::string("nobody")) + ", not '" + *rule.node_id + "'");
  return {};
}

Result<std::size_t> TlsStream::read(std::span<std::byte> into) {
  if (into.empty()) return std::size_t{0};
  into = into.first(std::min(into.size(), kReadAtOnce));
  const int count = NANOBOX_TRY(drive("read from", [&](SSL* ssl) {
    // One SSL_read gives one record at most; more may have come with it.
    std::size_t have = 0;
    while (have < into.size()) {
      const int got = ::SSL_read(ssl, into.data() + have, static_cast<int>(into.size() - have));
      if (got <= 0) return have > 0 ? static_cast<int>(have) : got;
      have += static_cast<std::size_t>(got);
    }
    return static_cast<int>(have);
  }));
  return static_cast<std::size_t>(count);
}

Result<void> TlsStream::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const int count = NANOBOX_TRY(drive("write to", [&](SSL* ssl) {
      // Only where it goes out at once: both ends could otherwise wait to write it, with neither reading.
      if (records_ >= records_per_key_) {
        pollfd room{.fd = socket_.get(), .events = POLLOUT, .revents = 0};
        if (::poll(&room, 1, 0) == 1 && ::SSL_key_update(ssl, SSL_KEY_UPDATE_NOT_REQUESTED) == 1) records_ = 0;
      }
      return ::SSL_write(ssl, bytes.data(), static_cast<int>(std::min(bytes.size(), kRecord)));
    }));
    if (count == 0) return fail(lost("write to", "the other end has ended it"));
    ++records_;
    bytes = bytes.subspan(static_cast<std::size_t>(count));
  }
  return {};
}

void TlsStream::cut() {
  cut_ = true;
  ::shutdown(socket_.get(), SHUT_RDWR);
}

Result<void> TlsStream::end() {
  NANOBOX_TRY(drive("end", [](SSL* ssl) {
    const int sent = ::SSL_shutdown(ssl);
    return sent >= 0 ? 1 : sent;  // 0: the peer has not ended its own yet
  }));
  return {};
}

void TlsStream::linger(std::chrono::milliseconds patience) {
  ::shutdown(socket_.get(), SHUT_WR);
  const auto end = std::chrono::steady_clock::now() + patience;
  std::array<std::byte, 4096> dropped{};
  while (!cut_ && wait("end", POLLIN, end)) {
    const auto count = ::recv(socket_.get(), dropped.data(), dropped.size(), 0);
    if (count == 0 || (count < 0 && errno != EAGAIN && errno != EINTR)) return;
  }
}

Result<std::unique_ptr<TlsStream>> tls_connect(const ListenAddress& to, TlsContext context, Deadline deadline,
                                               const PeerRule& rule, StreamLimits limits) {
  auto socket = NANOBOX_TRY(tcp_connect(to, deadline));
  const auto until = std::exchange(limits.until, deadline);
  auto stream = NANOBOX_TRY(TlsStream::over(std::move(socket), std::move(context), to_string(to), limits));
  NANOBOX_TRY(stream->handshake(rule));
  stream->set_deadline(until);
  return stream;
}

}  // namespace nanobox
