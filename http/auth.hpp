#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "config/error.hpp"
#include "config/listen_address.hpp"
#include "http/request.hpp"

namespace nanobox::http {

/// Who sends a request.
struct Identity {
  std::string owner;
  bool is_admin = false;
  bool has_key = false;  ///< a key says so, not merely where the request comes from
};

/// A key as text and the owner's name that stands for it.
struct NamedKey {
  std::string name;
  std::string key;
};

struct AuthRules {
  std::vector<NamedKey> keys = {};  ///< of `[auth] keys`: with any, every peer needs one
  std::string admin_key = {};       ///< of DATA/admin.key; empty: none
  bool require_on_loopback = false;
  bool allow_unauthenticated = false;
};

/// Reads one string of `[auth] keys`: "NAME:KEY" (NAME of a-z, 0-9, '-', '_', at most 32), else a bare key, whose name
/// is "key-" and 8 hex digits of its SHA-256.
NamedKey parse_key(std::string_view text);

/// The rules for a server: reads DATA/admin.key or, where the server listens beyond loopback (or loopback needs keys)
/// and has no keys, makes one (32 random bytes as hex, 0600). Logs warnings and the file's name, never a key.
/// @errors disk_full · io_failed · file_unreadable: an admin.key that others can read or that holds no key
Result<AuthRules> make_auth_rules(const std::vector<std::string>& keys, bool require_on_loopback,
                                  bool allow_unauthenticated, const ListenAddress& listen_addr,
                                  const std::filesystem::path& data_folder);

/// Decides by a request's headers and its peer. Immutable and thread-safe; keys are compared in constant time, by
/// digest.
class Authenticator {
public:
  explicit Authenticator(const AuthRules& rules);

  /// The key named "admin", or DATA/admin.key, is the admin's; where no key is named so, the first in the list. A key
  /// comes as `X-NanoBox-Key: KEY`, as a WebSocket's protocol (websocket.hpp) or as `Authorization: Bearer KEY`, in
  /// this order.
  /// @param forwards  as RouteOptions::forwards
  /// @errors unauthorized: no key or an unknown one · forbidden: without a key from a page or under another host's name
  Result<Identity> identify(const Request& request, bool forwards = false) const;

  /// Takes our keys out of a request's headers, so that they go nowhere else.
  void remove_keys(Request& request) const;

private:
  struct Known {
    std::string digest;
    Identity identity;
  };
  const Known* find(std::string_view key) const;
  bool ignores_keys() const { return all_are_free_ && known_.empty(); }
  std::vector<Known> known_;
  bool loopback_is_free_ = false;
  bool all_are_free_ = false;
};

}  // namespace nanobox::http
