#include "actors/cluster/cluster_port.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <caf/io/all.hpp>
#include <caf/openssl/all.hpp>
#include <caf/scoped_actor.hpp>

#include "actors/cluster/node_door.hpp"
#include "config/log.hpp"
#include "pipeline/cluster/identity/identity_proof.hpp"
#include "pipeline/cluster/identity/private_file.hpp"
#include "pipeline/cluster/identity/tls_stream.hpp"

namespace nanobox {

namespace {

constexpr std::chrono::seconds kConnect{5};
constexpr std::chrono::milliseconds kReopen{200};

using KeeperActor = caf::typed_actor<caf::replies_to<open_atom>::with<std::uint16_t>, caf::reacts_to<retry_atom>>;
struct KeeperState {
  static inline const char* name = "door_keeper";
  std::function<NodeDoorActor()> make;
  ListenAddress address;
  NodeDoorActor door;
};
using Self = KeeperActor::stateful_pointer<KeeperState>;

Error port_error(const ListenAddress& address, std::string reason) {
  return {.code = ErrorCode::io_failed,
          .attempted = "open the cluster port",
          .subject = to_string(address),
          .reason = std::move(reason),
          .mend = "use another [cluster] listen_addr"};
}

/// CAF keeps the port of an actor that has ended.
void close_port(Self self) {
  // caf::openssl::unpublish does not compile.
  caf::anon_send(self->system().openssl_manager().actor_handle(), caf::unpublish_atom_v, self->state.door.address(),
                 self->state.address.port);
}

Result<std::uint16_t> open_door(Self self) {
  auto& state = self->state;
  state.door = state.make();
  self->monitor(state.door);
  const auto& host = state.address.host;
  const char* bound = host == "0.0.0.0" || host == "::" ? nullptr : host.c_str();
  const auto port = caf::openssl::publish(state.door, state.address.port, bound, true);
  if (!port) {
    self->demonitor(state.door.address());
    self->send_exit(state.door, caf::exit_reason::user_shutdown);
    return fail(port_error(state.address, self->system().render(port.error())));
  }
  state.address.port = *port;
  return *port;
}

KeeperActor::behavior_type door_keeper(Self self, std::function<NodeDoorActor()> make, ListenAddress address) {
  self->state.make = std::move(make);
  self->state.address = std::move(address);
  self->set_down_handler([self](const caf::down_msg& down) {
    if (down.source != self->state.door) return;
    log_warn(LogComponent::cluster, {}, "the cluster's door was ended ({}); it is opened again",
             self->system().render(down.reason));
    close_port(self);
    self->send(self, retry_atom_v);
  });
  self->set_exit_handler([self](const caf::exit_msg& exit) {
    if (self->state.door) {
      close_port(self);
      self->send_exit(self->state.door, exit.reason);
    }
    self->quit(exit.reason);
  });
  return {
      [self](open_atom) -> caf::result<std::uint16_t> { return reply(open_door(self)); },
      [self](retry_atom atom) {
        if (auto opened = open_door(self); !opened) {
          log_error(LogComponent::cluster, {}, "{}", describe(opened.error()));
          self->delayed_send(self, kReopen, atom);
        } else {
          log_info(LogComponent::cluster, {}, "the cluster's door is open again");
        }
      },
  };
}

}  // namespace

Result<TlsFiles> write_tls_files(const NodeIdentity& identity, const std::filesystem::path& folder) {
  NANOBOX_TRY(make_private_folder(folder));
  const TlsFiles files{folder / "certificate.pem", folder / "key.pem", folder / "ca.pem"};
  NANOBOX_TRY(write_private_file(files.key, NANOBOX_TRY(identity.key().pem())));
  NANOBOX_TRY(write_private_file(files.certificate, identity.certificate().pem()));
  NANOBOX_TRY(write_private_file(files.ca, identity.ca_certificate().pem()));
  return files;
}

void use_network(ActorSystemConfig& config, const TlsFiles& files) {
  config.load<caf::io::middleman>();
  config.load<caf::openssl::manager>();
  config.openssl_certificate = files.certificate;
  config.openssl_key = files.key;
  config.openssl_cafile = files.ca;
  config.set("middleman.enable-automatic-connections", false);
  config.set("middleman.heartbeat-interval", caf::timespan{std::chrono::milliseconds(500)});
  config.set("middleman.connection-timeout", caf::timespan{std::chrono::seconds(3)});
}

void refuse_services(caf::actor_system& system) {
  system.registry().erase(caf::atom("SpawnServ"));
  system.registry().erase(caf::atom("ConfigServ"));
}

Result<ClusterPort> open_cluster_port(caf::actor_system& system, const ControlPlane& plane,
                                      const ListenAddress& address, Certificate ca) {
  const ProofCheck check = [ca = std::move(ca)](const NodeHello& hello, const std::string& challenge,
                                                const std::string& proof) -> Result<void> {
    const auto peer = NANOBOX_TRY(check_proof(ca, challenge, proof, wall_now()));
    if (peer.node_id == hello.node_id && peer.role == NodeRole::node) return {};
    return fail({.code = ErrorCode::peer_untrusted,
                 .attempted = "let node in",
                 .subject = hello.node_id,
                 .reason = "its certificate is of " + peer.node_id,
                 .mend = ""});
  };
  const auto make = [&system, nodes = plane.nodes, check] { return system.spawn(node_door, nodes, check); };
  const auto keeper = system.spawn<caf::detached>(door_keeper, make, address);
  ClusterPort opened{.address = address, .keeper = caf::actor_cast<caf::actor>(keeper)};
  Result<void> failed;
  caf::scoped_actor self(system);
  self->request(keeper, kConnect, open_atom_v)
      .receive([&](std::uint16_t port) { opened.address.port = port; },
               [&](caf::error& error) { failed = fail(from_caf(error, "open the cluster port")); });
  if (failed) return opened;
  self->send_exit(keeper, caf::exit_reason::user_shutdown);
  return fail(failed.error());
}

ControlPlaneDoor remote_door(caf::actor_system& system, ListenAddress address, std::function<NodeIdentity()> identity) {
  return {.open = [&system, address, identity]() -> Result<NodeDoorActor> {
            // CAF's own connect has no deadline, and holds up all others of the process.
            {
              const auto context = NANOBOX_TRY(TlsContext::mutual_client(identity()));
              const auto probe = NANOBOX_TRY(tls_connect(address, context, std::chrono::steady_clock::now() + kConnect,
                                                         {.role = NodeRole::control}));
            }
            auto door = caf::openssl::remote_actor<NodeDoorActor>(system, address.host, address.port);
            if (door) return std::move(*door);
            return fail({.code = ErrorCode::connection_failed,
                         .attempted = "connect with the control plane",
                         .subject = to_string(address),
                         .reason = system.render(door.error()),
                         .mend = "",
                         .transient = true});
          },
          .prove = [identity](const std::string& challenge) { return prove_identity(identity(), challenge); }};
}

}  // namespace nanobox
