#include "pipeline/cluster/identity/tls_context.hpp"

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "pipeline/cluster/identity/tls_state.hpp"

namespace nanobox {

namespace {

// AES-GCM is what processors are fast at.
constexpr const char* kCiphers = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
constexpr std::size_t kReadAhead = std::size_t{128} << 10;

Error no_context() {
  return openssl_error("set TLS up", "");
}

Result<std::string> alpn_wire(const std::vector<std::string>& names) {
  std::string wire;
  for (const auto& name : names) {
    if (name.empty() || name.size() > 255)
      return fail({.code = ErrorCode::internal,
                   .attempted = "set TLS up",
                   .subject = name,
                   .reason = "a protocol's name has 1 to 255 bytes",
                   .mend = {}});
    wire += static_cast<char>(name.size());
    wire += name;
  }
  return wire;
}

int choose_protocol(SSL*, const unsigned char** out, unsigned char* out_size, const unsigned char* offered,
                    unsigned offered_size, void* of) {
  const auto& mine = static_cast<const TlsContext::State*>(of)->alpn;
  unsigned char* chosen = nullptr;
  if (::SSL_select_next_proto(&chosen, out_size, reinterpret_cast<const unsigned char*>(mine.data()),
                              static_cast<unsigned>(mine.size()), offered, offered_size) != OPENSSL_NPN_NEGOTIATED)
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  *out = chosen;
  return SSL_TLSEXT_ERR_OK;
}

/// The certificate among those the peer sent whose key is the pinned one.
X509* pinned_root(X509_STORE_CTX* asked, const std::string& digest) {
  auto* sent = ::X509_STORE_CTX_get0_untrusted(asked);
  for (int i = 0; i < sk_X509_num(sent); ++i)
    if (auto* each = sk_X509_value(sent, i); public_key_digest(::X509_get0_pubkey(each)) == digest) return each;
  return nullptr;
}

// Verifies against the one root that is pinned: not what the peer sends is trusted, but the key with this digest.
int verify_pinned(X509_STORE_CTX* asked, void* of) {
  const auto refuse = [&](int error) {
    ::X509_STORE_CTX_set_error(asked, error);
    return 0;
  };
  auto* root = pinned_root(asked, static_cast<const TlsContext::State*>(of)->ca_key_digest);
  if (root == nullptr) return refuse(X509_V_ERR_APPLICATION_VERIFICATION);
  const StoreHandle store(::X509_STORE_new());
  const VerificationHandle check(::X509_STORE_CTX_new());
  if (!store || !check || ::X509_STORE_add_cert(store.get(), root) != 1 ||
      ::X509_STORE_CTX_init(check.get(), store.get(), ::X509_STORE_CTX_get0_cert(asked),
                            ::X509_STORE_CTX_get0_untrusted(asked)) != 1 ||
      ::X509_STORE_CTX_set_default(check.get(), "ssl_server") != 1)
    return refuse(X509_V_ERR_OUT_OF_MEM);
  if (::X509_verify_cert(check.get()) != 1) return refuse(::X509_STORE_CTX_get_error(check.get()));
  ::X509_STORE_CTX_set_error(asked, X509_V_OK);
  return 1;
}

Result<std::shared_ptr<TlsContext::State>> make_state(bool is_server, const std::vector<std::string>& alpn) {
  auto state = std::make_shared<TlsContext::State>();
  state->context.reset(::SSL_CTX_new(is_server ? ::TLS_server_method() : ::TLS_client_method()));
  state->is_server = is_server;
  state->alpn = NANOBOX_TRY(alpn_wire(alpn));
  auto* context = state->context.get();
  if (context == nullptr || ::SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) != 1 ||
      ::SSL_CTX_set_ciphersuites(context, kCiphers) != 1 || ::SSL_CTX_set_num_tickets(context, 0) != 1)
    return fail(no_context());
  ::SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_NO_RENEGOTIATION);
  ::SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  // Between two tries of one write others may run, and the caller's buffer may move.
  ::SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  ::SSL_CTX_set_read_ahead(context, 1);
  ::SSL_CTX_set_default_read_buffer_len(context, kReadAhead);
  ::SSL_CTX_set_max_cert_list(context, 16 << 10);
  if (is_server && !state->alpn.empty())
    ::SSL_CTX_set_alpn_select_cb(context, choose_protocol, state.get());
  else if (!is_server && !state->alpn.empty() &&
           ::SSL_CTX_set_alpn_protos(context, reinterpret_cast<const unsigned char*>(state->alpn.data()),
                                     static_cast<unsigned>(state->alpn.size())) != 0)  // 0 is success here
    return fail(no_context());
  return state;
}

Result<std::shared_ptr<TlsContext::State>> make_known(const NodeIdentity& identity, bool is_server,
                                                      const std::vector<std::string>& alpn) {
  auto state = NANOBOX_TRY(make_state(is_server, alpn));
  auto* context = state->context.get();
  // The CA goes along, for joining nodes know no more of it than its key's digest.
  if (::SSL_CTX_use_certificate(context, identity.certificate().get()) != 1 ||
      ::SSL_CTX_use_PrivateKey(context, identity.key().get()) != 1 ||
      SSL_CTX_add1_chain_cert(context, identity.ca_certificate().get()) != 1 ||
      ::X509_STORE_add_cert(::SSL_CTX_get_cert_store(context), identity.ca_certificate().get()) != 1)
    return fail(no_context());
  return state;
}

std::vector<std::string> one_or_none(std::string alpn) {
  if (alpn.empty()) return {};
  return {std::move(alpn)};
}

}  // namespace

Result<TlsContext> TlsContext::pinned_client(std::string ca_key_digest, std::string alpn) {
  auto state = NANOBOX_TRY(make_state(false, one_or_none(std::move(alpn))));
  state->ca_key_digest = std::move(ca_key_digest);
  ::SSL_CTX_set_verify(state->context.get(), SSL_VERIFY_PEER, nullptr);
  ::SSL_CTX_set_cert_verify_callback(state->context.get(), verify_pinned, state.get());
  return TlsContext(std::move(state));
}

Result<TlsContext> TlsContext::mutual_client(const NodeIdentity& identity, std::string alpn) {
  auto state = NANOBOX_TRY(make_known(identity, false, one_or_none(std::move(alpn))));
  ::SSL_CTX_set_verify(state->context.get(), SSL_VERIFY_PEER, nullptr);
  return TlsContext(std::move(state));
}

Result<TlsContext> TlsContext::mutual_server(const NodeIdentity& identity, std::vector<std::string> alpn) {
  auto state = NANOBOX_TRY(make_known(identity, true, alpn));
  ::SSL_CTX_set_verify(state->context.get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  return TlsContext(std::move(state));
}

Result<TlsContext> TlsContext::open_server(const NodeIdentity& identity, std::vector<std::string> alpn) {
  auto state = NANOBOX_TRY(make_known(identity, true, alpn));
  state->needs_peer = false;
  ::SSL_CTX_set_verify(state->context.get(), SSL_VERIFY_PEER, nullptr);
  return TlsContext(std::move(state));
}

}  // namespace nanobox
