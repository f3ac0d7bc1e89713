#include "pipeline/cluster/identity/certificate_authority.hpp"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <cstdio>

#include "pipeline/cluster/identity/openssl_handles.hpp"
#include "pipeline/cluster/identity/private_file.hpp"

namespace nanobox {

namespace {

constexpr std::chrono::hours kAuthorityLifetime{24 * 365 * 20};
constexpr int kSerialBytes = 16;

struct Contents {
  std::string common_name;
  std::string unit;
  EVP_PKEY* key = nullptr;
  WallTime from;
  WallTime to;
  std::vector<std::pair<int, const char*>> extensions;
};

bool set_serial(X509* certificate) {
  std::array<unsigned char, kSerialBytes> random{};
  if (::RAND_bytes(random.data(), kSerialBytes) != 1) return false;
  const BignumHandle number(::BN_bin2bn(random.data(), kSerialBytes, nullptr));
  return number && ::BN_to_ASN1_INTEGER(number.get(), ::X509_get_serialNumber(certificate)) != nullptr;
}

bool set_times(X509* certificate, WallTime from, WallTime to) {
  const auto seconds = [](WallTime time) {
    return static_cast<time_t>(std::chrono::floor<std::chrono::seconds>(time).time_since_epoch().count());
  };
  return ::ASN1_TIME_set(::X509_getm_notBefore(certificate), seconds(from)) != nullptr &&
         ::ASN1_TIME_set(::X509_getm_notAfter(certificate), seconds(to)) != nullptr;
}

bool add_name(X509_NAME* name, const char* field, const std::string& text) {
  return ::X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8, reinterpret_cast<const unsigned char*>(text.data()),
                                      static_cast<int>(text.size()), -1, 0) == 1;
}

bool add_extension(X509* certificate, X509* issuer, int kind, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  ::X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const ExtensionHandle extension(::X509V3_EXT_conf_nid(nullptr, &context, kind, value));
  return extension && ::X509_add_ext(certificate, extension.get(), -1) == 1;
}

/// Signed by `key`, in the name of `issuer`; of itself where that is null.
Result<Certificate> sign(const Contents& contents, X509* issuer, const PrivateKey& key) {
  const X509Handle certificate(::X509_new());
  auto* made = certificate.get();
  bool well = made != nullptr && ::X509_set_version(made, X509_VERSION_3) == 1 && set_serial(made) &&
              set_times(made, contents.from, contents.to) && ::X509_set_pubkey(made, contents.key) == 1 &&
              add_name(::X509_get_subject_name(made), "O", "nanobox") &&
              add_name(::X509_get_subject_name(made), "OU", contents.unit) &&
              add_name(::X509_get_subject_name(made), "CN", contents.common_name) &&
              ::X509_set_issuer_name(made, ::X509_get_subject_name(issuer != nullptr ? issuer : made)) == 1;
  for (const auto& [kind, value] : contents.extensions)
    well = well && add_extension(made, issuer != nullptr ? issuer : made, kind, value);
  if (!well || ::X509_sign(made, key.get(), ::EVP_sha256()) <= 0)
    return fail(openssl_error("make a certificate", contents.common_name));
  return Certificate::share(made);
}

tl::unexpected<Error> bad_request(std::string reason) {
  ::ERR_clear_error();
  return fail({.code = ErrorCode::invalid_value,
               .attempted = "read a certificate signing request",
               .subject = "",
               .reason = std::move(reason),
               .mend = {}});
}

}  // namespace

Result<SigningRequest> SigningRequest::from_pem(std::string_view pem) {
  const auto bio = text_bio(pem);
  const RequestHandle request(::PEM_read_bio_X509_REQ(bio.get(), nullptr, no_password, nullptr));
  if (!request) return bad_request("it is no PEM of a request");
  // Before anything is computed with it: other kinds of keys can cost much.
  KeyHandle key(::X509_REQ_get_pubkey(request.get()));
  if (!key || !is_p256(key.get())) return bad_request("its key is no EC key on P-256");
  if (::X509_REQ_verify(request.get(), key.get()) != 1) return bad_request("it is not signed by its own key");
  auto digest = public_key_digest(key.get());
  return SigningRequest(std::shared_ptr<EVP_PKEY>(std::move(key)), std::move(digest));
}

Result<CertificateAuthority> CertificateAuthority::open_or_make(const std::filesystem::path& data, WallTime now) {
  const auto folder = data / "ca";
  std::error_code wrong;
  const bool is_there = std::filesystem::exists(folder, wrong);
  if (wrong) return fail(errno_error(wrong.value(), "look for", folder));
  if (is_there) return open(folder);
  const auto half = data / "ca.half";
  std::filesystem::remove_all(half, wrong);
  if (wrong) return fail(errno_error(wrong.value(), "delete folder", half));
  auto made = NANOBOX_TRY(make(half, now));
  if (::rename(half.c_str(), folder.c_str()) != 0) return fail(errno_error(errno, "make folder", folder));
  // Before anything is issued: the nodes would belong to a CA that is gone.
  NANOBOX_TRY(flush_folder(data));
  return made;
}

Result<CertificateAuthority> CertificateAuthority::make(const std::filesystem::path& folder, WallTime now) {
  auto key = NANOBOX_TRY(PrivateKey::generate());
  auto certificate = NANOBOX_TRY(sign({.common_name = "nanobox cluster " + key.digest().substr(0, 16),
                                       .unit = "authority",
                                       .key = key.get(),
                                       .from = now - certificate_backdating,
                                       .to = now + kAuthorityLifetime,
                                       .extensions = {{NID_basic_constraints, "critical,CA:TRUE,pathlen:0"},
                                                      {NID_key_usage, "critical,keyCertSign,cRLSign"},
                                                      {NID_subject_key_identifier, "hash"}}},
                                      nullptr, key));
  NANOBOX_TRY(make_private_folder(folder));
  NANOBOX_TRY(write_private_file(folder / "key.pem", NANOBOX_TRY(key.pem())));
  NANOBOX_TRY(write_private_file(folder / "certificate.pem", certificate.pem()));
  return CertificateAuthority(std::move(key), std::move(certificate));
}

Result<CertificateAuthority> CertificateAuthority::open(const std::filesystem::path& folder) {
  const auto damaged = [&](std::string reason) {
    return fail({.code = ErrorCode::file_unreadable,
                 .attempted = "open the cluster's certificate authority",
                 .subject = folder,
                 .reason = std::move(reason),
                 .mend = "restore the folder; a new one would make every node join again"});
  };
  const auto key_pem = NANOBOX_TRY(read_private_file(folder / "key.pem"));
  const auto certificate_pem = NANOBOX_TRY(read_private_file(folder / "certificate.pem"));
  if (!key_pem || !certificate_pem) return damaged("key.pem or certificate.pem is missing");
  auto key = PrivateKey::from_pem(*key_pem);
  auto certificate = Certificate::from_pem(*certificate_pem);
  if (!key || !certificate) return damaged("key.pem or certificate.pem holds something else");
  if (!certificate->is_root() || certificate->key_digest() != key->digest())
    return damaged("certificate.pem is not of key.pem");
  return CertificateAuthority(std::move(*key), std::move(*certificate));
}

Result<Certificate> CertificateAuthority::issue(const SigningRequest& request, const std::string& node_id,
                                                NodeRole role, WallTime now, std::chrono::seconds lifetime) const {
  if (!is_node_id(node_id))
    return fail({.code = ErrorCode::invalid_value,
                 .attempted = "issue a certificate",
                 .subject = node_id,
                 .reason = "it names no node",
                 .mend = "use 1 to 64 letters, digits, '-', '_' and '.'"});
  return sign({.common_name = node_id,
               .unit = std::string(to_string(role)),
               .key = request.key(),
               .from = std::max<WallTime>(now - certificate_backdating, certificate_.not_before()),
               .to = std::min<WallTime>(now + lifetime, certificate_.not_after()),
               .extensions = {{NID_basic_constraints, "critical,CA:FALSE"},
                              {NID_key_usage, "critical,digitalSignature"},
                              {NID_ext_key_usage, "serverAuth,clientAuth"},
                              {NID_subject_key_identifier, "hash"},
                              {NID_authority_key_identifier, "keyid:always"}}},
              certificate_.get(), key_);
}

Result<Certificate> CertificateAuthority::issue(std::string_view csr_pem, const std::string& node_id, NodeRole role,
                                                WallTime now, std::chrono::seconds lifetime) const {
  return issue(NANOBOX_TRY(SigningRequest::from_pem(csr_pem)), node_id, role, now, lifetime);
}

Result<NodeIdentity> CertificateAuthority::make_identity(const std::string& node_id, NodeRole role, WallTime now,
                                                         std::string control_address,
                                                         std::chrono::seconds lifetime) const {
  auto key = NANOBOX_TRY(PrivateKey::generate());
  auto certificate = NANOBOX_TRY(issue(NANOBOX_TRY(key.make_csr()), node_id, role, now, lifetime));
  return NodeIdentity::make(std::move(key), std::move(certificate), certificate_, std::move(control_address));
}

}  // namespace nanobox
