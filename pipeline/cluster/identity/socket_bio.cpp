#include "pipeline/cluster/identity/socket_bio.hpp"

#include <sys/socket.h>

#include <cerrno>
#include <climits>
#include <cstdint>

namespace nanobox {

namespace {

int fd_of(BIO* bio) {
  return static_cast<int>(reinterpret_cast<std::intptr_t>(::BIO_get_data(bio)));
}

bool is_temporary(int number) {
  return number == EAGAIN || number == EINTR;
}

int send_some(BIO* bio, const char* bytes, int size) {
  BIO_clear_retry_flags(bio);
  const auto count = ::send(fd_of(bio), bytes, static_cast<std::size_t>(size), MSG_NOSIGNAL);
  if (count < 0 && is_temporary(errno)) BIO_set_retry_write(bio);
  return static_cast<int>(count);
}

int receive_some(BIO* bio, char* into, int size) {
  BIO_clear_retry_flags(bio);
  const auto count = ::recv(fd_of(bio), into, static_cast<std::size_t>(size), 0);
  if (count < 0 && is_temporary(errno)) BIO_set_retry_read(bio);
  if (count == 0) ::BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
  return static_cast<int>(count);
}

long control(BIO* bio, int what, long, void*) {
  switch (what) {
    case BIO_CTRL_FLUSH:
      return 1;
    case BIO_CTRL_EOF:
      return ::BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0 ? 1 : 0;
    default:
      return 0;
  }
}

using MethodHandle = std::unique_ptr<BIO_METHOD, OpensslFree<BIO_meth_free>>;

MethodHandle make_method() {
  MethodHandle method(::BIO_meth_new(::BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "socket without SIGPIPE"));
  if (method) {
    ::BIO_meth_set_write(method.get(), send_some);
    ::BIO_meth_set_read(method.get(), receive_some);
    ::BIO_meth_set_ctrl(method.get(), control);
  }
  return method;
}

}  // namespace

BioHandle socket_bio(int fd) {
  static const MethodHandle method = make_method();
  BioHandle bio(method ? ::BIO_new(method.get()) : nullptr);
  if (bio) {
    ::BIO_set_data(bio.get(), reinterpret_cast<void*>(static_cast<std::intptr_t>(fd)));
    ::BIO_set_init(bio.get(), 1);
  }
  return bio;
}

}  // namespace nanobox
