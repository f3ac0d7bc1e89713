#pragma once

#include <chrono>

#include "config/error.hpp"

namespace nanobox {

/// Hands a layer to a VMM that was started empty, whose preload maps it over the guest's memory (private_memory.c, on
/// the other end of NANOBOX_MEMORY_LAYERS_FD). The vCPUs must not have run; one layer after the other. Blocking.
/// @param socket    AF_UNIX SOCK_SEQPACKET
/// @param layer_fd  of a layer file, open for reading; may be closed afterwards
/// @errors vmm_failed (the VMM's own reason, or it is gone) · deadline_exceeded; the VMM must be ended then, for its
/// answer may still come
Result<void> send_memory_layer(int socket, int layer_fd, std::chrono::milliseconds deadline);

}  // namespace nanobox
