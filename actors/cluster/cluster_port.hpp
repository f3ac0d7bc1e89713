#pragma once

#include <caf/actor_system.hpp>
#include <filesystem>

#include "actors/cluster/control_plane.hpp"
#include "config/listen_address.hpp"
#include "pipeline/cluster/identity/node_identity.hpp"

namespace nanobox {

/// Where CAF's OpenSSL module reads who this process is; they are read anew for each connection.
struct TlsFiles {
  std::filesystem::path certificate, key, ca;
};

/// Writes an identity as files (0600) below `folder` (0700), each replaced at once. @errors io_failed · disk_full
Result<TlsFiles> write_tls_files(const NodeIdentity& identity, const std::filesystem::path& folder);

/// CAF's settings of a process that talks to others: mutual TLS, a peer that is silent for 3 s is gone.
void use_network(ActorSystemConfig& config, const TlsFiles& files);

/// Takes from peers what CAF serves them by name: spawning actors here, and a table that they may fill.
void refuse_services(caf::actor_system& system);

/// Opens the control plane's door at that address, and again whenever somebody has ended it.
/// @returns the address with its port @errors io_failed: it is taken
struct ClusterPort {
  ListenAddress address;
  caf::actor keeper;  ///< told to exit, it closes the door
};
Result<ClusterPort> open_cluster_port(caf::actor_system& system, const ControlPlane& plane,
                                      const ListenAddress& address, Certificate ca);

/// The door of a control plane elsewhere.
/// @param identity  asked for at each connection: it is renewed now and then
ControlPlaneDoor remote_door(caf::actor_system& system, ListenAddress address, std::function<NodeIdentity()> identity);

}  // namespace nanobox
