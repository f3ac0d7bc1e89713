#pragma once

#include <openssl/x509.h>

#include <memory>
#include <string>
#include <string_view>

#include "config/clock.hpp"
#include "config/error.hpp"
#include "pipeline/cluster/identity/peer_identity.hpp"

namespace nanobox {

/// An X.509 certificate. Copies share it; any thread may use it.
class Certificate {
public:
  /// @errors invalid_value: no PEM of a certificate, or one without a time it is valid for
  static Result<Certificate> from_pem(std::string_view pem);
  /// Takes a further reference to `certificate`. @errors as from_pem
  static Result<Certificate> share(X509* certificate);

  std::string pem() const;
  /// 64 hex digits: SHA-256 of its public key (SubjectPublicKeyInfo).
  std::string key_digest() const;
  WallTime not_before() const { return not_before_; }
  WallTime not_after() const { return not_after_; }

  /// Who it says its holder is: CN and OU. @errors peer_untrusted: it says that in no form that our CA writes
  Result<PeerIdentity> identity() const;
  /// Whether the key of `ca` has signed it. Says nothing of times and purposes, which TLS looks at.
  bool is_signed_by(const Certificate& ca) const;
  /// Whether it is one of a CA, signed by its own key.
  bool is_root() const;

  X509* get() const { return x509_.get(); }

private:
  Certificate(std::shared_ptr<X509> x509, WallTime not_before, WallTime not_after)
      : x509_(std::move(x509)), not_before_(not_before), not_after_(not_after) {}
  std::shared_ptr<X509> x509_;
  WallTime not_before_;
  WallTime not_after_;
};

}  // namespace nanobox
