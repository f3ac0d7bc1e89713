// Debian's libcaf_openssl 0.17.6 asks SSL_get_error without emptying the thread's error queue before the operation, as
// SSL_get_error(3) wants it: a stranger's failed handshake then reads as the failure of the next connection that is
// served, and nodes are lost. The program's own definitions are found before OpenSSL's.
#include <dlfcn.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

namespace {

template <class Function>
Function* next(const char* name) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

}  // namespace

extern "C" {

int SSL_read(SSL* ssl, void* bytes, int size) {
  static auto* const original = next<int(SSL*, void*, int)>("SSL_read");
  ERR_clear_error();
  return original(ssl, bytes, size);
}

int SSL_write(SSL* ssl, const void* bytes, int size) {
  static auto* const original = next<int(SSL*, const void*, int)>("SSL_write");
  ERR_clear_error();
  return original(ssl, bytes, size);
}

int SSL_accept(SSL* ssl) {
  static auto* const original = next<int(SSL*)>("SSL_accept");
  ERR_clear_error();
  return original(ssl);
}

int SSL_connect(SSL* ssl) {
  static auto* const original = next<int(SSL*)>("SSL_connect");
  ERR_clear_error();
  return original(ssl);
}
}
