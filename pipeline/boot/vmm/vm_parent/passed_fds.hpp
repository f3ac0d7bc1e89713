#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "config/error.hpp"
#include "config/unique_fd.hpp"

namespace nanobox {

/// One packet of a SOCK_SEQPACKET socket with the descriptors that came along (all O_CLOEXEC).
struct Packet {
  std::string bytes;  ///< empty: the other side is gone
  std::vector<UniqueFd> descriptors;
};

Result<void> send_packet(int socket, std::string_view bytes, std::span<const int> descriptors);
Result<Packet> receive_packet(int socket);

}  // namespace nanobox
