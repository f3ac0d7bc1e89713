#include "pipeline/cluster/identity/identity_proof.hpp"

#include <openssl/evp.h>
#include <openssl/x509.h>

#include <memory>
#include <vector>

namespace nanobox {

namespace {

/// So that a signature made here can stand for nothing else.
constexpr std::string_view kPurpose = "nanobox node proof 1\n";
constexpr char kDigits[] = "0123456789abcdef";

using DigestContext = std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)>;

std::string purposed(std::string_view challenge) {
  return std::string(kPurpose) + std::string(challenge);
}

Error untrusted(std::string reason) {
  return {.code = ErrorCode::peer_untrusted,
          .attempted = "check who a node is",
          .subject = "",
          .reason = std::move(reason),
          .mend = ""};
}

std::string to_hex(const std::vector<unsigned char>& bytes) {
  std::string text;
  for (const auto byte : bytes) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

Result<std::vector<unsigned char>> from_hex(std::string_view text) {
  constexpr std::string_view digits(kDigits, 16);
  std::vector<unsigned char> bytes;
  for (std::size_t i = 0; i + 1 < text.size(); i += 2) {
    const auto high = digits.find(text[i]), low = digits.find(text[i + 1]);
    if (high == digits.npos || low == digits.npos) return fail(untrusted("its signature is malformed"));
    bytes.push_back(static_cast<unsigned char>(high << 4 | low));
  }
  return bytes;
}

}  // namespace

Result<std::string> prove_identity(const NodeIdentity& identity, std::string_view challenge) {
  const auto text = purposed(challenge);
  const DigestContext context(EVP_MD_CTX_new(), &EVP_MD_CTX_free);
  const auto* bytes = reinterpret_cast<const unsigned char*>(text.data());
  std::size_t size = 0;
  std::vector<unsigned char> signature;
  const auto signs = [&](unsigned char* into) {
    return EVP_DigestSign(context.get(), into, &size, bytes, text.size()) == 1;
  };
  if (!context || EVP_DigestSignInit(context.get(), nullptr, EVP_sha256(), nullptr, identity.key().get()) != 1 ||
      !signs(nullptr) || (signature.resize(size), !signs(signature.data())))
    return fail({.code = ErrorCode::internal,
                 .attempted = "prove who this node is",
                 .subject = identity.node_id(),
                 .reason = "OpenSSL does not sign",
                 .mend = ""});
  signature.resize(size);
  return to_hex(signature) + "\n" + identity.certificate().pem();
}

Result<PeerIdentity> check_proof(const Certificate& ca, std::string_view challenge, std::string_view proof,
                                 WallTime now) {
  const auto line = proof.find('\n');
  if (line == proof.npos || proof.size() > 16384) return fail(untrusted("its answer is malformed"));
  const auto signature = NANOBOX_TRY(from_hex(proof.substr(0, line)));
  const auto certificate = Certificate::from_pem(proof.substr(line + 1));
  if (!certificate) return fail(untrusted("it shows no certificate"));
  if (!certificate->is_signed_by(ca)) return fail(untrusted("its certificate is of another cluster"));
  if (now < certificate->not_before() || now > certificate->not_after())
    return fail(untrusted("its certificate is not valid now; look at its clock, or have it join again"));
  const auto text = purposed(challenge);
  const DigestContext context(EVP_MD_CTX_new(), &EVP_MD_CTX_free);
  if (!context ||
      EVP_DigestVerifyInit(context.get(), nullptr, EVP_sha256(), nullptr, X509_get0_pubkey(certificate->get())) != 1 ||
      EVP_DigestVerify(context.get(), signature.data(), signature.size(),
                       reinterpret_cast<const unsigned char*>(text.data()), text.size()) != 1)
    return fail(untrusted("it does not have the key of the certificate that it shows"));
  return certificate->identity();
}

}  // namespace nanobox
