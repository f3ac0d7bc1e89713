#pragma once

#include <openssl/evp.h>

#include <memory>
#include <string>
#include <string_view>

namespace nanobox {

/// SHA-256 over bytes as they come. Move-only.
class Sha256 {
public:
  Sha256();
  void update(std::string_view bytes);
  /// "sha256:<64 hex>" of everything so far; the object is spent then.
  std::string finish();

private:
  struct Free {
    void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
  };
  std::unique_ptr<EVP_MD_CTX, Free> context_;
};

/// 64 hex digits of `bytes`.
std::string sha256_hex(std::string_view bytes);
/// "sha256:<64 hex>" of `bytes`.
std::string digest_of(std::string_view bytes);

}  // namespace nanobox
