#include "tools/nanoboxd/membership.hpp"

#include <sys/stat.h>

#include <caf/scoped_actor.hpp>
#include <fstream>

#include "config/log.hpp"
#include "pipeline/cluster/identity/join_client.hpp"
#include "pipeline/cluster/identity/private_file.hpp"
#include "pipeline/json_text.hpp"

namespace nanobox {

namespace fs = std::filesystem;

namespace {

constexpr std::chrono::seconds kJoin{20};
constexpr std::chrono::minutes kLookAgain{10};
constexpr std::size_t kTokenFileMax = 4096;

fs::path place_file(const fs::path& data) {
  return identity_folder(data) / "cluster.json";
}

std::string to_text(const ClusterPlace& place) {
  rapidjson::StringBuffer buffer;
  JsonWriter json(buffer);
  json.StartObject();
  put_text(json, "control", to_string(place.control));
  put_text(json, "join", to_string(place.join));
  put_text(json, "subnet", to_string(place.subnet));
  put_text(json, "part", to_string(place.part));
  json.EndObject();
  return buffer.GetString();
}

Result<ClusterPlace> place_from(const std::string& text) {
  rapidjson::Document json;
  json.Parse(text.data(), text.size());
  if (json.HasParseError() || !json.IsObject())
    return fail({.code = ErrorCode::file_unreadable,
                 .attempted = "read where this node belongs",
                 .subject = "DATA/identity/cluster.json",
                 .reason = "it is no JSON object",
                 .mend = "remove DATA/identity and join anew with a token of nanobox node token"});
  return ClusterPlace{.control = NANOBOX_TRY(parse_listen_address(text_at(json, "control"))),
                      .join = NANOBOX_TRY(parse_listen_address(text_at(json, "join"))),
                      .subnet = NANOBOX_TRY(parse_subnet(text_at(json, "subnet"))),
                      .part = NANOBOX_TRY(parse_subnet(text_at(json, "part")))};
}

/// A control plane that listens everywhere is where it was joined at.
Result<ClusterPlace> place_of(const JoinGrant& grant, const ListenAddress& joined_at) {
  ClusterPlace place{.control = NANOBOX_TRY(parse_listen_address(grant.listen_addr)),
                     .join = joined_at,
                     .subnet = NANOBOX_TRY(parse_subnet(grant.cluster_subnet)),
                     .part = NANOBOX_TRY(parse_subnet(grant.subnet_part))};
  if (place.control.host == "0.0.0.0" || place.control.host == "::") place.control.host = joined_at.host;
  return place;
}

Result<std::string> read_token(const fs::path& file) {
  const auto unreadable = [&](std::string reason, std::string mend) {
    return fail({.code = ErrorCode::file_unreadable,
                 .attempted = "read the join token",
                 .subject = file.string(),
                 .reason = std::move(reason),
                 .mend = std::move(mend)});
  };
  struct stat status {};
  if (::stat(file.c_str(), &status) != 0) return unreadable("it is not there", "nanobox node token makes one");
  if ((status.st_mode & 077) != 0) return unreadable("others may read it", "chmod 0600 it");
  std::ifstream in(file);
  std::string token(kTokenFileMax, '\0');
  in.read(token.data(), static_cast<std::streamsize>(token.size()));
  token.resize(static_cast<std::size_t>(in.gcount()));
  return token;
}

}  // namespace

Membership::Membership(NodeIdentity identity, TlsFiles files, fs::path folder, Renew renew)
    : identity_(std::move(identity)),
      files_(std::move(files)),
      folder_(std::move(folder)),
      renew_(std::move(renew)),
      thread_([this] { keep_good(); }) {}

Result<std::unique_ptr<Membership>> Membership::start(NodeIdentity identity, fs::path folder, Renew renew) {
  auto files = NANOBOX_TRY(write_tls_files(identity, folder));
  return std::unique_ptr<Membership>(
      new Membership(std::move(identity), std::move(files), std::move(folder), std::move(renew)));
}

Membership::~Membership() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  stopped_.notify_all();
}

NodeIdentity Membership::identity() const {
  const std::lock_guard lock(mutex_);
  return identity_;
}

void Membership::keep_good() {
  std::unique_lock lock(mutex_);
  while (!stopped_.wait_for(lock, kLookAgain, [this] { return stopping_; })) {
    if (!identity_.needs_renewal(wall_now())) continue;
    const auto old = identity_;
    lock.unlock();
    auto renewed = renew_(old);
    if (renewed)
      if (auto written = write_tls_files(*renewed, folder_); !written) renewed = fail(written.error());
    lock.lock();
    if (renewed)
      identity_ = std::move(*renewed);
    else
      log_warn(LogComponent::node, {}, "{}", describe(renewed.error()));
  }
}

Result<JoinedNode> become_member(const LoadedSettings& loaded, const RoleOptions& options, const std::string& version) {
  const auto& data = loaded.data_folder;
  if (auto known = NANOBOX_TRY(NodeIdentity::load(data)))
    if (const auto text = NANOBOX_TRY(read_private_file(place_file(data))))
      return JoinedNode{.identity = std::move(*known), .place = NANOBOX_TRY(place_from(*text))};
  const auto address = options.join ? options.join : loaded.settings.cluster.join_addr;
  if (!address || options.token_file.empty())
    return fail({.code = ErrorCode::config_invalid,
                 .attempted = "join a cluster",
                 .subject = "",
                 .reason = "this node has not joined one yet",
                 .mend = "nanobox node token on the control plane makes a token; then nanoboxd --role node --join "
                         "HOST:PORT --token-file FILE"});
  auto joined = NANOBOX_TRY(join({.control_address = to_string(*address),
                                  .token = NANOBOX_TRY(read_token(options.token_file)),
                                  .node_id = loaded.settings.agent.node_id,
                                  .program_version = version,
                                  .key = NANOBOX_TRY(PrivateKey::open_or_make(identity_key_file(data)))},
                                 std::chrono::steady_clock::now() + kJoin));
  const auto place = NANOBOX_TRY(place_of(joined.grant, *address));
  NANOBOX_TRY(write_private_file(place_file(data), to_text(place)));
  NANOBOX_TRY(joined.identity.save(data));
  log_info(LogComponent::node, {{"node", joined.identity.node_id()}}, "joined the cluster as {}",
           joined.identity.node_id());
  return JoinedNode{.identity = std::move(joined.identity), .place = place};
}

Result<std::unique_ptr<JoinServer>> start_join_server(caf::actor_system& system, const ControlPlane& plane,
                                                      const CertificateAuthority& authority,
                                                      const ListenAddress& listen, const ListenAddress& cluster_port,
                                                      const Ipv4Subnet& subnet) {
  const auto decide = [&system, nodes = plane.nodes, cluster_port, subnet](
                          const JoinRequest& request, const std::string& key_digest, bool) -> Result<JoinGrant> {
    Result<JoinGrant> grant;
    caf::scoped_actor self(system);
    self->request(nodes, kJoin, join_atom_v, request.node_id, key_digest)
        .receive(
            [&](const NodeStatus& node) {
              grant = JoinGrant{.node_id = node.node_id,
                                .subnet_part = node.subnet_parts.front(),
                                .cluster_subnet = to_string(subnet),
                                .listen_addr = to_string(cluster_port)};
            },
            [&](caf::error& error) { grant = fail(from_caf(error, "let a node join")); });
    return grant;
  };
  return JoinServer::start(
      {.address = listen, .control_id = "control", .program_version = plane.control->version, .connections = 8},
      authority, plane.control->store, decide);
}

ListenAddress join_address(const Settings::Cluster& settings) {
  if (settings.join_addr) return *settings.join_addr;
  auto address = *settings.listen_addr;
  if (address.port != 0) ++address.port;
  return address;
}

}  // namespace nanobox
