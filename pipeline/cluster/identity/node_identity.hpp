#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "config/clock.hpp"
#include "config/error.hpp"
#include "pipeline/cluster/identity/certificate.hpp"
#include "pipeline/cluster/identity/peer_identity.hpp"
#include "pipeline/cluster/identity/private_key.hpp"

namespace nanobox {

/// DATA/identity, where a node keeps its key (key.pem) and what it got when it joined (identity.json).
inline std::filesystem::path identity_folder(const std::filesystem::path& data) {
  return data / "identity";
}
/// The node's key: there before it joins, so that a second try is the same node's; the same over all renewals.
inline std::filesystem::path identity_key_file(const std::filesystem::path& data) {
  return identity_folder(data) / "key.pem";
}

/// What makes a node a member of its cluster. Copies share the key and certificates.
class NodeIdentity {
public:
  /// @errors peer_untrusted: the certificate is not of this CA or not for this key, or names no node
  static Result<NodeIdentity> make(PrivateKey key, Certificate certificate, Certificate ca_certificate,
                                   std::string control_address);
  /// What `save` kept; nothing on a node that has not joined. @errors file_unreadable · io_failed
  static Result<std::optional<NodeIdentity>> load(const std::filesystem::path& data);
  /// Keeps it under DATA/identity (0700, files 0600) in place of the one before. @errors disk_full · io_failed
  Result<void> save(const std::filesystem::path& data) const;

  const PrivateKey& key() const { return key_; }
  const Certificate& certificate() const { return certificate_; }
  const Certificate& ca_certificate() const { return ca_certificate_; }
  const std::string& node_id() const { return peer_.node_id; }
  NodeRole role() const { return peer_.role; }
  /// The digest of the CA's key.
  const std::string& cluster_id() const { return cluster_id_; }
  /// "host:port" that it joined at, and renews at.
  const std::string& control_address() const { return control_address_; }

  /// Whether two thirds of the certificate's life are over.
  bool needs_renewal(WallTime now) const { return now >= renewal_time(); }
  WallTime renewal_time() const;

private:
  NodeIdentity(PrivateKey key, Certificate certificate, Certificate ca_certificate, PeerIdentity peer,
               std::string control_address);

  PrivateKey key_;
  Certificate certificate_;
  Certificate ca_certificate_;
  PeerIdentity peer_;
  std::string cluster_id_;
  std::string control_address_;
};

}  // namespace nanobox
