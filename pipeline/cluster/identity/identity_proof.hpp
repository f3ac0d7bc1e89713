#pragma once

#include <string>
#include <string_view>

#include "config/clock.hpp"
#include "pipeline/cluster/identity/node_identity.hpp"

namespace nanobox {

/// The answer to a challenge: the identity's certificate, and the challenge signed with its key.
/// @errors internal: OpenSSL cannot sign
Result<std::string> prove_identity(const NodeIdentity& identity, std::string_view challenge);

/// Who gave that answer to `challenge`. @errors peer_untrusted: not of this CA, expired, or signed by another key
Result<PeerIdentity> check_proof(const Certificate& ca, std::string_view challenge, std::string_view proof,
                                 WallTime now);

}  // namespace nanobox
