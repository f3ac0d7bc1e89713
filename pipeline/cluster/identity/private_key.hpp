#pragma once

#include <openssl/evp.h>

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "config/error.hpp"

namespace nanobox {

/// A private EC key on P-256. Copies share it; any thread may use it.
class PrivateKey {
public:
  /// @errors internal: OpenSSL has no randomness
  static Result<PrivateKey> generate();
  /// @errors invalid_value: no PEM of an unencrypted P-256 key
  static Result<PrivateKey> from_pem(std::string_view pem);
  /// The key in `file` (0600), which is made with its folder (0700) where it is not there.
  /// @errors file_unreadable: no key in it, or others may read it · io_failed
  static Result<PrivateKey> open_or_make(const std::filesystem::path& file);

  Result<std::string> pem() const;
  /// 64 hex digits: SHA-256 of the public key (SubjectPublicKeyInfo).
  std::string digest() const;
  /// A certificate signing request (PEM) for this key; it names nobody, for the CA says who that is.
  Result<std::string> make_csr() const;

  EVP_PKEY* get() const { return key_.get(); }

private:
  explicit PrivateKey(std::shared_ptr<EVP_PKEY> key) : key_(std::move(key)) {}
  std::shared_ptr<EVP_PKEY> key_;
};

/// Whether it is an EC key on P-256.
bool is_p256(const EVP_PKEY* key);
/// 64 hex digits: SHA-256 of the SubjectPublicKeyInfo of `key`; empty where it has none.
std::string public_key_digest(const EVP_PKEY* key);

}  // namespace nanobox
