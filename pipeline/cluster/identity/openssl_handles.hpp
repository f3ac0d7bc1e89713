#pragma once

#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <memory>
#include <string>

#include "config/error.hpp"

namespace nanobox {

template <auto Free>
struct OpensslFree {
  template <class T>
  void operator()(T* object) const {
    Free(object);
  }
};

/// OpenSSL's objects, each freed once.
using BioHandle = std::unique_ptr<BIO, OpensslFree<BIO_free_all>>;
using BignumHandle = std::unique_ptr<BIGNUM, OpensslFree<BN_free>>;
using ExtensionHandle = std::unique_ptr<X509_EXTENSION, OpensslFree<X509_EXTENSION_free>>;
using KeyHandle = std::unique_ptr<EVP_PKEY, OpensslFree<EVP_PKEY_free>>;
using RequestHandle = std::unique_ptr<X509_REQ, OpensslFree<X509_REQ_free>>;
using SslHandle = std::unique_ptr<SSL, OpensslFree<SSL_free>>;
using SslContextHandle = std::unique_ptr<SSL_CTX, OpensslFree<SSL_CTX_free>>;
using StoreHandle = std::unique_ptr<X509_STORE, OpensslFree<X509_STORE_free>>;
using VerificationHandle = std::unique_ptr<X509_STORE_CTX, OpensslFree<X509_STORE_CTX_free>>;
using X509Handle = std::unique_ptr<X509, OpensslFree<X509_free>>;

/// What OpenSSL said last on this thread, as an error; its queue is empty then.
Error openssl_error(std::string attempted, std::string subject, ErrorCode code = ErrorCode::internal);

/// A BIO that reads `text`, which must outlive it.
BioHandle text_bio(std::string_view text);
/// What was written to a memory BIO.
std::string bio_text(BIO* bio);
/// For PEM that comes from outside: never asks for a password (OpenSSL's own way is to ask on the terminal).
int no_password(char*, int, int, void*);

}  // namespace nanobox
