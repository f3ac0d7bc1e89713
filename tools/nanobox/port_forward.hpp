#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "config/error.hpp"
#include "tools/nanobox/interruption.hpp"
#include "tools/nanobox/transfer.hpp"

namespace nanobox::cli {

/// A port here and the one inside that it leads to.
struct PortPair {
  std::uint16_t here = 0;  ///< 0: any that is free
  std::uint16_t inside = 0;
};

/// "8080:80", "80" (the same here), ":80" and "0:80" (a free one here). @errors invalid_value
Result<PortPair> read_port_pair(const std::string& text);

struct PortForwardCall {
  std::string sandbox_id;
  std::string address = "127.0.0.1";  ///< to listen at
  std::vector<PortPair> pairs;
  bool json = false;
};

/// Listens, says where on stdout, and joins each connection with one inside, until a signal comes: that is success.
/// A connection that nothing listens for inside is reset, and said on stderr.
/// @errors io_failed: cannot listen · sandbox_not_found, sandbox_not_running, sandbox_paused: also when it ends
/// meanwhile
Result<void> forward_ports(const ServerAddress& server, Interruption& interruption, const PortForwardCall& call);

}  // namespace nanobox::cli
