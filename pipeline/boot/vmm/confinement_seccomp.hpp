#pragma once

#include <string>

#include "config/error.hpp"

namespace nanobox {

/// A filter for whatever runs as VMM, in the form seccomp(2) takes (struct sock_filter[] as bytes). It allows what
/// programs do and refuses with EPERM what only an escape needs: mounts, namespaces, tracing and the memory of other
/// processes, keys, BPF, io_uring, userfaultfd, perf, modules, clocks, file handles, sockets other than Unix ones, and
/// typing into terminals. Calls of another architecture kill. A VMM's own, stricter filter comes on top.
/// @see docs of libseccomp; QEMU's -sandbox
Result<std::string> confinement_seccomp_filter();

}  // namespace nanobox
