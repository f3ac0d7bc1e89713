#pragma once

#include <string>

#include "config/error.hpp"
#include "pipeline/cluster/identity/join_protocol.hpp"
#include "pipeline/cluster/identity/node_identity.hpp"
#include "pipeline/cluster/identity/tcp.hpp"

namespace nanobox {

/// What a node needs to join.
struct JoinOrder {
  std::string control_address;  ///< "host:port" of the control plane's join port
  std::string token;            ///< text of a JoinToken
  std::string node_id;          ///< the id it wants; empty: whatever it is given
  std::string program_version;  ///< "0.1.0"
  PrivateKey key;               ///< PrivateKey::open_or_make(identity_key_file(data)): a second try is the same node's
};

struct Joined {
  NodeIdentity identity;  ///< not saved yet
  JoinGrant grant;
};

/// Joins the cluster that the token names.
/// @errors peer_untrusted: the server is of another cluster than the token, or answers with what does not fit
///         · token_invalid · token_expired · node_exists · version_incompatible · config_invalid: no address
///         · connection_refused, connection_failed, connection_lost, deadline_exceeded · whatever the server says
Result<Joined> join(const JoinOrder& order, Deadline deadline);

/// Gets a new certificate for the same node and key, with the one it has.
/// @param control_address  "host:port" of the join port @errors as join; peer_untrusted also where the certificate has
///                         expired: the node must join again
Result<Joined> renew(const NodeIdentity& identity, const std::string& control_address,
                     const std::string& program_version, Deadline deadline);

}  // namespace nanobox
