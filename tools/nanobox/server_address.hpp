#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "config/error.hpp"
#include "config/settings.hpp"
#include "tools/nanobox/api_client.hpp"
#include "tools/nanobox/interruption.hpp"

namespace nanobox::cli {

class PrivateServer;

/// What a person or DATA/address calls a server, as a URL to ask: "host:1" and "http://0.0.0.0:1/" become
/// "http://host:1" and "http://127.0.0.1:1". Nothing: it is no address.
std::optional<std::string> server_url(std::string_view text);

/// Whether the URL's host is this one.
bool is_local_url(std::string_view url);

/// A server that answers; a private one is left (and perhaps stopped) when this goes.
struct FoundServer {
  ServerAddress address;
  std::shared_ptr<PrivateServer> own;
};

struct ServerSearch {
  std::optional<std::string> named;  ///< --server
  bool may_start = false;            ///< start one for ourselves where none answers
};

/// `--server`, else NANOBOX_SERVER, else the address in DATA, else a private one that runs, else 127.0.0.1:8080.
/// The key is NANOBOX_KEY, else DATA/admin.key for a server on this host.
/// @errors io_failed: none answers · invalid_value: no address
Result<FoundServer> find_server(const ServerSearch& search, const Environment& environment, Interruption& interruption);

}  // namespace nanobox::cli
