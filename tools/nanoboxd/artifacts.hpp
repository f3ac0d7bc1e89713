#pragma once

#include <memory>
#include <thread>

#include "actors/cluster/artifact_fetch.hpp"
#include "config/listen_address.hpp"
#include "pipeline/cluster/identity/node_identity.hpp"

namespace nanobox {

/// Gives the templates and saved states of this node to others of its cluster, each connection on a thread of its own,
/// a few at once.
class ArtifactPort {
public:
  /// @param identity  asked for at each connection @errors io_failed: the address
  static Result<std::unique_ptr<ArtifactPort>> open(const ListenAddress& address, SharedServices services,
                                                    std::function<NodeIdentity()> identity);
  virtual ~ArtifactPort() = default;
  virtual const ListenAddress& address() const = 0;
};

/// Gets artifacts from other nodes' artifact ports.
/// @param control_host  stands for the host of a source that names none: the control plane's own node
FetchArtifact fetch_over_tls(std::function<NodeIdentity()> identity, std::string control_host);

}  // namespace nanobox
