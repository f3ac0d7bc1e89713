#pragma once

#include "pipeline/cluster/identity/openssl_handles.hpp"

namespace nanobox {

/// A BIO over a non-blocking socket, which it borrows. OpenSSL's own writes with write(2), which raises SIGPIPE when
/// the peer has gone. @returns null without memory
BioHandle socket_bio(int fd);

}  // namespace nanobox
