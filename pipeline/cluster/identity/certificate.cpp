#include "pipeline/cluster/identity/certificate.hpp"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <ctime>
#include <optional>

#include "pipeline/cluster/identity/openssl_handles.hpp"
#include "pipeline/cluster/identity/private_key.hpp"

namespace nanobox {

namespace {

std::optional<WallTime> wall_time(const ASN1_TIME* time) {
  std::tm parts{};
  if (time == nullptr || ::ASN1_TIME_to_tm(time, &parts) != 1) return std::nullopt;
  return WallTime(std::chrono::seconds(::timegm(&parts)));
}

/// The one entry of that kind; nothing where there are more, or none.
std::optional<std::string> sole_entry(const X509_NAME* name, int kind) {
  const int at = ::X509_NAME_get_index_by_NID(name, kind, -1);
  if (at < 0 || ::X509_NAME_get_index_by_NID(name, kind, at) >= 0) return std::nullopt;
  const auto* text = ::X509_NAME_ENTRY_get_data(::X509_NAME_get_entry(name, at));
  return std::string(reinterpret_cast<const char*>(::ASN1_STRING_get0_data(text)),
                     static_cast<std::size_t>(::ASN1_STRING_length(text)));
}

Result<Certificate> of(X509Handle x509, auto make) {
  const auto from = wall_time(::X509_get0_notBefore(x509.get()));
  const auto to = wall_time(::X509_get0_notAfter(x509.get()));
  if (!from || !to)
    return fail({.code = ErrorCode::invalid_value,
                 .attempted = "read a certificate",
                 .subject = "",
                 .reason = "the times in it are no times",
                 .mend = {}});
  return make(std::shared_ptr<X509>(std::move(x509)), *from, *to);
}

}  // namespace

Result<Certificate> Certificate::from_pem(std::string_view pem) {
  const auto bio = text_bio(pem);
  X509Handle x509(::PEM_read_bio_X509(bio.get(), nullptr, no_password, nullptr));
  if (!x509) return fail(openssl_error("read a certificate", "", ErrorCode::invalid_value));
  return of(std::move(x509), [](auto... parts) { return Certificate(std::move(parts)...); });
}

Result<Certificate> Certificate::share(X509* certificate) {
  ::X509_up_ref(certificate);
  return of(X509Handle(certificate), [](auto... parts) { return Certificate(std::move(parts)...); });
}

std::string Certificate::pem() const {
  const BioHandle bio(::BIO_new(::BIO_s_mem()));
  if (!bio || ::PEM_write_bio_X509(bio.get(), x509_.get()) != 1) throw std::bad_alloc();
  return bio_text(bio.get());
}

std::string Certificate::key_digest() const {
  return public_key_digest(::X509_get0_pubkey(x509_.get()));
}

Result<PeerIdentity> Certificate::identity() const {
  const auto* name = ::X509_get_subject_name(x509_.get());
  const auto id = sole_entry(name, NID_commonName);
  const auto role = sole_entry(name, NID_organizationalUnitName);
  if (id && role && is_node_id(*id))
    for (const auto known : {NodeRole::node, NodeRole::control})
      if (*role == to_string(known)) return PeerIdentity{*id, known};
  return fail({.code = ErrorCode::peer_untrusted,
               .attempted = "read a certificate",
               .subject = "",
               .reason = "it does not name a node and its role",
               .mend = {}});
}

bool Certificate::is_signed_by(const Certificate& ca) const {
  auto* key = ::X509_get0_pubkey(ca.get());
  const bool signed_by = key != nullptr && ::X509_verify(x509_.get(), key) == 1;
  ::ERR_clear_error();
  return signed_by;
}

bool Certificate::is_root() const {
  return ::X509_check_ca(x509_.get()) == 1 && is_signed_by(*this);
}

}  // namespace nanobox
