#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

#include "actors/cluster/cluster_port.hpp"
#include "config/settings.hpp"
#include "pipeline/cluster/identity/join_server.hpp"
#include "tools/nanoboxd/role.hpp"

namespace nanobox {

/// Who this process is to the cluster, kept good: renewed when two thirds of its certificate's life are over.
class Membership {
public:
  using Renew = std::function<Result<NodeIdentity>(const NodeIdentity&)>;

  /// `renew` runs on a thread of its own. @param folder  where CAF reads the identity
  static Result<std::unique_ptr<Membership>> start(NodeIdentity identity, std::filesystem::path folder, Renew renew);
  ~Membership();

  NodeIdentity identity() const;
  const TlsFiles& files() const { return files_; }

private:
  Membership(NodeIdentity identity, TlsFiles files, std::filesystem::path folder, Renew renew);
  void keep_good();

  mutable std::mutex mutex_;
  std::condition_variable stopped_;
  bool stopping_ = false;
  NodeIdentity identity_;
  const TlsFiles files_;
  const std::filesystem::path folder_;
  const Renew renew_;
  std::jthread thread_;
};

/// Where a node belongs, as it was told when it joined; kept beside its identity.
struct ClusterPlace {
  ListenAddress control;  ///< the control plane's cluster port
  ListenAddress join;     ///< and its join port
  Ipv4Subnet subnet;      ///< of all nodes
  Ipv4Subnet part;        ///< this node's
};

struct JoinedNode {
  NodeIdentity identity;
  ClusterPlace place;
};

/// The identity of an earlier start, or a new one by `options`' token. Blocking.
/// @errors config_invalid: neither · as `join`
Result<JoinedNode> become_member(const LoadedSettings& loaded, const RoleOptions& options, const std::string& version);

/// Takes nodes into the cluster. @param plane  decides who may have which id
Result<std::unique_ptr<JoinServer>> start_join_server(caf::actor_system& system, const ControlPlane& plane,
                                                      const CertificateAuthority& authority,
                                                      const ListenAddress& listen, const ListenAddress& cluster_port,
                                                      const Ipv4Subnet& subnet);

/// The join port of a control plane whose settings name none: the one behind its cluster port.
ListenAddress join_address(const Settings::Cluster& settings);

}  // namespace nanobox
