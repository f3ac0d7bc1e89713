#include "pipeline/cluster/identity/private_key.hpp"

#include <openssl/ec.h>
#include <openssl/pem.h>

#include <array>

#include "config/sha256.hpp"
#include "pipeline/cluster/identity/openssl_handles.hpp"
#include "pipeline/cluster/identity/private_file.hpp"

namespace nanobox {

Result<PrivateKey> PrivateKey::generate() {
  KeyHandle key(::EVP_EC_gen("P-256"));
  if (!key) return fail(openssl_error("make a key", ""));
  return PrivateKey(std::shared_ptr<EVP_PKEY>(std::move(key)));
}

Result<PrivateKey> PrivateKey::from_pem(std::string_view pem) {
  const auto bio = text_bio(pem);
  KeyHandle key(::PEM_read_bio_PrivateKey(bio.get(), nullptr, no_password, nullptr));
  if (!key) return fail(openssl_error("read a private key", "", ErrorCode::invalid_value));
  if (!is_p256(key.get()))
    return fail({.code = ErrorCode::invalid_value,
                 .attempted = "read a private key",
                 .subject = "",
                 .reason = "it is no EC key on P-256",
                 .mend = {}});
  return PrivateKey(std::shared_ptr<EVP_PKEY>(std::move(key)));
}

Result<PrivateKey> PrivateKey::open_or_make(const std::filesystem::path& file) {
  if (const auto kept = NANOBOX_TRY(read_private_file(file))) {
    auto key = from_pem(*kept);
    if (!key) {
      auto error = std::move(key).error();
      error.code = ErrorCode::file_unreadable;
      error.subject = file;
      error.mend = "delete it: a new key is made, with which the node must join again";
      return fail(std::move(error));
    }
    return key;
  }
  auto key = NANOBOX_TRY(generate());
  NANOBOX_TRY(make_private_folder(file.parent_path()));
  NANOBOX_TRY(write_private_file(file, NANOBOX_TRY(key.pem())));
  return key;
}

Result<std::string> PrivateKey::pem() const {
  const BioHandle bio(::BIO_new(::BIO_s_mem()));
  if (!bio || ::PEM_write_bio_PrivateKey(bio.get(), key_.get(), nullptr, nullptr, 0, nullptr, nullptr) != 1)
    return fail(openssl_error("write a private key", ""));
  return bio_text(bio.get());
}

std::string PrivateKey::digest() const {
  return public_key_digest(key_.get());
}

Result<std::string> PrivateKey::make_csr() const {
  const RequestHandle request(::X509_REQ_new());
  const BioHandle bio(::BIO_new(::BIO_s_mem()));
  if (!request || !bio || ::X509_REQ_set_version(request.get(), X509_REQ_VERSION_1) != 1 ||
      ::X509_REQ_set_pubkey(request.get(), key_.get()) != 1 ||
      ::X509_REQ_sign(request.get(), key_.get(), ::EVP_sha256()) <= 0 ||
      ::PEM_write_bio_X509_REQ(bio.get(), request.get()) != 1)
    return fail(openssl_error("make a certificate signing request", ""));
  return bio_text(bio.get());
}

bool is_p256(const EVP_PKEY* key) {
  std::array<char, 64> group{};
  return ::EVP_PKEY_is_a(key, "EC") == 1 && ::EVP_PKEY_get_group_name(key, group.data(), group.size(), nullptr) == 1 &&
         std::string_view(group.data()) == "prime256v1";
}

std::string public_key_digest(const EVP_PKEY* key) {
  unsigned char* der = nullptr;
  const int size = ::i2d_PUBKEY(key, &der);
  if (size <= 0) return {};
  auto digest = sha256_hex({reinterpret_cast<const char*>(der), static_cast<std::size_t>(size)});
  ::OPENSSL_free(der);
  return digest;
}

}  // namespace nanobox
