#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/error.hpp"

namespace nanobox::http {

enum class Method : std::uint8_t { get, head, post, put, patch, del, options };

std::string_view to_string(Method method);

/// A request as resources see it: framed, decoded, within its limits, its key checked. A plain value.
struct Request {
  Method method = Method::get;
  std::string path;   ///< as sent, without the query, still percent-encoded: for `instance` and logs
  std::string query;  ///< as sent, without '?'
  std::string route;  ///< the matched pattern, "/api/v1/sandboxes/{id}"
  std::map<std::string, std::string, std::less<>> params;             ///< the pattern's names → decoded segments
  std::vector<std::pair<std::string, std::string>> query_parameters;  ///< decoded (form encoding), in their order
  std::vector<std::pair<std::string, std::string>> headers;           ///< names in lower case, in their order
  std::string body;
  std::string request_id;
  /// The protocol that the client wants to go over to, in lower case ("websocket"): its Upgrade header where Connection
  /// names it. Empty: none.
  std::string upgrade;
  std::vector<std::string> connection_options;  ///< what Connection names, in lower case: headers for this hop only
  std::string peer_address;                     ///< "192.0.2.7", "2001:db8::7"; empty where it is not known
  bool peer_is_loopback = false;
  std::string owner;  ///< the name of the key, "admin" where none was needed
  bool is_admin = false;
  bool has_key = false;  ///< a key of ours came with it; it is no longer among the headers

  /// The first header of this name, which must be in lower case.
  std::optional<std::string_view> header(std::string_view name) const;
  /// The first query parameter of this name.
  std::optional<std::string_view> query_parameter(std::string_view name) const;
  /// A parameter of the matched pattern; empty if the pattern has none of this name.
  std::string_view param(std::string_view name) const;
  /// Whether `Accept` names this media type itself (not by a wildcard), as "text/event-stream".
  bool accepts(std::string_view media_type) const;
};

/// Refuses query parameters that the resource does not know, and ones given twice.
/// @errors unknown_field, with the pointer "?name"; invalid_value for the second of a name
Result<void> check_query(const Request& request, std::initializer_list<std::string_view> known);

}  // namespace nanobox::http
