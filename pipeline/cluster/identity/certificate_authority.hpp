#pragma once

#include <chrono>
#include <filesystem>
#include <string>
#include <string_view>

#include "config/clock.hpp"
#include "config/error.hpp"
#include "pipeline/cluster/identity/certificate.hpp"
#include "pipeline/cluster/identity/node_identity.hpp"
#include "pipeline/cluster/identity/peer_identity.hpp"
#include "pipeline/cluster/identity/private_key.hpp"

namespace nanobox {

/// How long a node's certificate holds.
inline constexpr std::chrono::hours certificate_lifetime{24 * 30};
/// By how much a certificate begins before it is made: clocks of two nodes may differ by 10 minutes.
inline constexpr std::chrono::minutes certificate_backdating{15};

/// A certificate signing request whose signature has been checked.
class SigningRequest {
public:
  /// Names and extensions in it are ignored.
  /// @errors invalid_value: no PEM of a request, not signed by its own key, or another kind of key than P-256
  static Result<SigningRequest> from_pem(std::string_view pem);
  /// 64 hex digits: SHA-256 of its public key (SubjectPublicKeyInfo).
  const std::string& key_digest() const { return key_digest_; }
  EVP_PKEY* key() const { return key_.get(); }

private:
  SigningRequest(std::shared_ptr<EVP_PKEY> key, std::string digest)
      : key_(std::move(key)), key_digest_(std::move(digest)) {}
  std::shared_ptr<EVP_PKEY> key_;
  std::string key_digest_;
};

/// Says who belongs to the cluster. Any thread may use it.
class CertificateAuthority {
public:
  /// The one in DATA/ca, which is made where there is none: 0700, key.pem and certificate.pem 0600. One left half made
  /// by a crash is thrown away, for nothing was issued by it.
  /// @errors file_unreadable: the folder is damaged, or others may read it · io_failed
  static Result<CertificateAuthority> open_or_make(const std::filesystem::path& data, WallTime now);

  /// 64 hex digits: SHA-256 of its public key (SubjectPublicKeyInfo). The cluster's id.
  const std::string& key_digest() const { return key_digest_; }
  const Certificate& certificate() const { return certificate_; }

  /// A certificate for the key of `request`, for both ends of TLS. @errors invalid_value: `node_id` is none · internal
  Result<Certificate> issue(const SigningRequest& request, const std::string& node_id, NodeRole role, WallTime now,
                            std::chrono::seconds lifetime = certificate_lifetime) const;
  /// As above. @errors also those of SigningRequest::from_pem
  Result<Certificate> issue(std::string_view csr_pem, const std::string& node_id, NodeRole role, WallTime now,
                            std::chrono::seconds lifetime = certificate_lifetime) const;
  /// An identity with a new key, for the control plane itself.
  Result<NodeIdentity> make_identity(const std::string& node_id, NodeRole role, WallTime now,
                                     std::string control_address = {},
                                     std::chrono::seconds lifetime = certificate_lifetime) const;

private:
  CertificateAuthority(PrivateKey key, Certificate certificate)
      : key_(std::move(key)), certificate_(std::move(certificate)), key_digest_(certificate_.key_digest()) {}
  static Result<CertificateAuthority> make(const std::filesystem::path& folder, WallTime now);
  static Result<CertificateAuthority> open(const std::filesystem::path& folder);

  PrivateKey key_;
  Certificate certificate_;
  std::string key_digest_;
};

}  // namespace nanobox
