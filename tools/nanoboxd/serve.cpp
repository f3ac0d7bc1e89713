#include "tools/nanoboxd/serve.hpp"

#include <arpa/inet.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <fstream>

#include "actors/metrics_feed.hpp"
#include "actors/node.hpp"
#include "config/data_folder.hpp"
#include "config/log.hpp"
#include "http/access_log.hpp"
#include "http/auth.hpp"
#include "http/resources/api.hpp"
#include "http/resources/metrics.hpp"
#include "http/server.hpp"
#include "pipeline/boot/network/node_network.hpp"
#include "pipeline/cluster/identity/join_client.hpp"
#include "pipeline/cluster/identity/join_token.hpp"
#include "pipeline/cluster/identity/tcp.hpp"
#include "pipeline/cluster/subnet_parts.hpp"
#include "pipeline/store/control_store.hpp"
#include "pipeline/store/data_folder_lock.hpp"
#include "tools/nanoboxd/artifacts.hpp"
#include "tools/nanoboxd/membership.hpp"
#include "tools/nanoboxd/recording.hpp"
#include "tools/nanoboxd/service_notice.hpp"
#include "tools/nanoboxd/services_setup.hpp"

namespace nanobox {

namespace {

namespace fs = std::filesystem;

constexpr std::string_view kVersion = NANOBOX_VERSION;
constexpr std::chrono::seconds kLocalNode{30};
constexpr std::chrono::seconds kRenew{20};
constexpr std::chrono::seconds kReach{5};

fs::path program_folder() {
  std::error_code error;
  return fs::read_symlink("/proc/self/exe", error).parent_path();
}

fs::path find_embedded_images() {
  std::error_code error;
  const auto folder = program_folder() / "../share/nanobox/images";
  return fs::is_directory(folder, error) ? fs::canonical(folder, error) : fs::path();
}

/// Images that come with the program are local ones. @returns their folder; empty: none
fs::path allow_embedded_images(Settings& settings) {
  auto folder = find_embedded_images();
  if (!folder.empty()) settings.oci.local_roots.push_back(folder);
  return folder;
}

/// Clients on this host find the server by it.
Result<void> write_address(const fs::path& data, const ListenAddress& address) {
  auto reachable = address;
  if (reachable.host == "0.0.0.0") reachable.host = "127.0.0.1";
  if (reachable.host == "::") reachable.host = "::1";
  const auto file = address_file(data), half = fs::path(file.string() + ".tmp");
  std::ofstream out(half);
  out << "http://" << to_string(reachable) << "\n";
  out.close();
  std::error_code error;
  if (out) fs::rename(half, file, error);
  if (!out || error) return fail(errno_error(errno, "write the server's address", file.string()));
  return {};
}

/// A sandbox takes some ten descriptors, and 1024 is the usual limit.
void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

/// Blocked before the first thread, so that every thread inherits it: sigwait alone takes them.
sigset_t block_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  return signals;
}

/// @param node  null: there is none in this process
void log_start(std::string_view role, const fs::path& data, const Services* node) {
  const auto vmm = node == nullptr || !node->driver ? std::string() : std::string(to_string(node->driver->kind()));
  log_info(LogComponent::daemon,
           {{"version", kVersion},
            {"role", role},
            {"data", data.native()},
            {"vmm", vmm},
            {"kernel", node == nullptr ? std::string_view() : std::string_view(node->kernel.native())}},
           "nanoboxd starts");
}

void wait_for_the_end(const sigset_t& signals) {
  tell_service_manager("READY=1");
  int signal = 0;
  sigwait(&signals, &signal);
  tell_service_manager("STOPPING=1");
  log_info(LogComponent::daemon, {}, "{}: stopping", signal == SIGTERM ? "SIGTERM" : "SIGINT");
}

/// The part of the subnet that the control plane's own node gives addresses from: all of it where it takes no others.
Result<Ipv4Subnet> own_part(const Settings& settings, const RecordStore& store) {
  if (!settings.cluster.listen_addr) return settings.network.subnet;
  std::set<std::string> taken;
  for (const auto& record : NANOBOX_TRY(all_records(store, kNodeKind))) {
    const auto node = node_from_record(record.value);
    if (!node || node->subnet_parts.empty()) continue;
    const auto& first = node->subnet_parts.front();
    if (node->node_id == settings.agent.node_id && first != to_string(settings.network.subnet))
      return parse_subnet(first);
    taken.insert(node->subnet_parts.begin(), node->subnet_parts.end());
  }
  return free_subnet_part(settings.network.subnet, taken);
}

/// This host's address on the way to `peer`.
Result<std::string> own_host(const ListenAddress& peer) {
  const auto socket = NANOBOX_TRY(tcp_connect(peer, std::chrono::steady_clock::now() + kReach));
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  char text[INET6_ADDRSTRLEN] = "";
  const auto* ipv4 = reinterpret_cast<const sockaddr_in*>(&address);
  const auto* ipv6 = reinterpret_cast<const sockaddr_in6*>(&address);
  if (::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0 ||
      ::inet_ntop(address.ss_family,
                  address.ss_family == AF_INET ? static_cast<const void*>(&ipv4->sin_addr)
                                               : static_cast<const void*>(&ipv6->sin6_addr),
                  text, sizeof text) == nullptr)
    return fail(errno_error(errno, "find this host's address", to_string(peer)));
  return std::string(text);
}

/// A node's actors, and what connects them with the cluster.
struct RunningNode {
  SharedServices services;
  Node node;
  NodeMembership membership;
  std::unique_ptr<ArtifactPort> artifacts;

  /// Once, if it was started.
  void stop(caf::actor_system& system, const std::string& mode) {
    if (!node.sandboxes) return;
    stop_node(system, node, mode);
    node = {};
    leave(system, membership);
    artifacts.reset();
    if (services->network) services->network->stop();
  }
};

/// Calls a function at the end of a scope, whichever way it is left: an actor system waits for actors that nobody ends.
template <class Function>
class AtEnd {
public:
  explicit AtEnd(Function function) : function_(std::move(function)) {}
  AtEnd(const AtEnd&) = delete;
  AtEnd& operator=(const AtEnd&) = delete;
  ~AtEnd() { function_(); }

private:
  Function function_;
};

/// One sink for all that want to know what became of requests.
http::ServedRequestSink all_of(std::vector<http::ServedRequestSink> sinks) {
  return [sinks = std::move(sinks)](const http::ServedRequest& request) {
    for (const auto& sink : sinks) sink(request);
  };
}

/// Serves the API until a signal comes.
Result<void> serve_api(const LoadedSettings& loaded, http::Api& api, const Recording& recording,
                       const sigset_t& signals) {
  const auto& settings = loaded.settings;
  http::ServerSettings server_settings;
  server_settings.listen_addr = settings.api.listen_addr;
  auto rules = http::make_auth_rules(settings.auth.keys, settings.auth.require_on_loopback,
                                     settings.auth.allow_unauthenticated, settings.api.listen_addr, loaded.data_folder);
  // Each part that watches requests (metrics, audit, log) adds its sink here.
  std::vector<http::ServedRequestSink> sinks;
  sinks.push_back(recording.sink());
  sinks.push_back(http::access_log());
  std::shared_ptr<MetricsFeed> feed;
  if (settings.metrics.enabled) {
    feed = std::make_shared<MetricsFeed>(api.boards(), std::string(kVersion));
    api.metrics = {feed, &feed->metrics()};
    sinks.push_back(http::counts_requests(api.metrics));
  }
  server_settings.served = all_of(std::move(sinks));
  http::Router router;
  http::add_routes(router, api);
  server_settings.auth = std::make_shared<const http::Authenticator>(NANOBOX_TRY(std::move(rules)));
  auto server = NANOBOX_TRY(http::Server::start(server_settings, std::move(router)));
  if (api.metrics) http::add_server_families(*api.metrics, server);
  NANOBOX_TRY(write_address(loaded.data_folder, server.address()));
  log_info(LogComponent::daemon, {}, "listening on {}", to_string(server.address()));
  wait_for_the_end(signals);
  api.ready = false;
  api.stopping.request_stop();
  server.stop(std::chrono::seconds(settings.api.drain_sec));
  std::error_code ignored;
  fs::remove(address_file(loaded.data_folder), ignored);
  return {};
}

/// The roles `all` and `control`.
Result<int> serve_control(LoadedSettings loaded, bool has_node, const sigset_t& signals) {
  const auto& settings = loaded.settings;
  const auto embedded_images = allow_embedded_images(loaded.settings);
  const auto store = NANOBOX_TRY(ControlStore::open(loaded.data_folder / "control.db"));

  ActorSystemConfig config;
  std::optional<CertificateAuthority> authority;
  std::unique_ptr<Membership> membership;
  if (settings.cluster.listen_addr) {
    authority = NANOBOX_TRY(CertificateAuthority::open_or_make(loaded.data_folder, wall_now()));
    const auto renew = [authority](const NodeIdentity&) {
      return authority->make_identity("control", NodeRole::control, wall_now());
    };
    membership =
        NANOBOX_TRY(Membership::start(NANOBOX_TRY(authority->make_identity("control", NodeRole::control, wall_now())),
                                      loaded.data_folder / "cluster-tls", renew));
    use_network(config, membership->files());
  }
  const auto identity = [&membership] { return membership->identity(); };

  std::optional<RunningNode> node;
  if (has_node) {
    node.emplace();
    node->services = NANOBOX_TRY(set_up_services(loaded, store, NANOBOX_TRY(own_part(settings, *store))));
  }
  log_start(has_node ? "all" : "control", loaded.data_folder, node ? node->services.get() : nullptr);
  Recording recording(loaded);
  ControlPlane plane;
  std::optional<ClusterPort> port;
  std::unique_ptr<JoinServer> joins;
  caf::actor_system system(config);
  if (authority) refuse_services(system);
  const auto stop = [&] {
    joins.reset();
    if (node) node->stop(system, settings.agent.on_shutdown);
    if (port) caf::anon_send_exit(port->keeper, caf::exit_reason::user_shutdown);
    port.reset();
    stop_control_plane(system, plane);
    recording.stop();
  };
  const AtEnd at_end(stop);
  if (node) node->node = NANOBOX_TRY(start_node(system, node->services));
  auto control = std::make_shared<ControlServices>();
  control->version = kVersion;
  if (node) control->local_node_id = node->services->node_id;
  control->subnet = settings.network.subnet;
  control->snapshot_replicas = settings.cluster.snapshot_replicas;
  control->store = store;
  control->boards = std::make_shared<Boards>();
  control->events = recording.events();
  recording.start(system, control->boards);
  plane = NANOBOX_TRY(start_control_plane(system, control));

  // Not among the initializers: left half made, `api` would keep actors from being destroyed, for which CAF waits.
  const auto spools = node ? node->services->spools : NANOBOX_TRY(make_spool_place(loaded));
  http::Api api{.system = system,
                .plane = plane,
                .image_sources = image_sources(settings),
                .spools = spools,
                .local = node ? node->services : nullptr,
                .invite = {},
                .idempotency = std::make_shared<http::Idempotency>(store),
                .default_network_mode = settings.network.default_mode,
                .embedded_images = embedded_images,
                .version = std::string(kVersion),
                .audit = recording.audit(),
                .webhooks = recording.webhooks()};
  const auto run = [&]() -> Result<void> {
    if (authority) {
      port = NANOBOX_TRY(open_cluster_port(system, plane, *settings.cluster.listen_addr, authority->certificate()));
      joins = NANOBOX_TRY(start_join_server(system, plane, *authority, join_address(settings.cluster), port->address,
                                            settings.network.subnet));
      log_info(LogComponent::cluster, {}, "nodes join at {} and connect at {}", to_string(joins->address()),
               to_string(port->address));
      api.invite = [store, digest = authority->key_digest(), join_addr = to_string(joins->address())](
                       std::chrono::seconds lifetime) -> Result<http::Invitation> {
        const auto now = wall_now();
        const auto token = NANOBOX_TRY(issue_token(*store, digest, lifetime, now));
        return http::Invitation{.token = to_string(token), .expires_at = now + lifetime, .join_addr = join_addr};
      };
    }
    if (node) {
      auto description = describe_node(*node->services, std::string(kVersion));
      FetchArtifact fetch;
      if (membership) {
        node->artifacts = NANOBOX_TRY(ArtifactPort::open({"0.0.0.0", 0}, node->services, identity));
        description.data_addr = to_string(node->artifacts->address());
        fetch = fetch_over_tls(identity, "127.0.0.1");
      }
      node->membership = join_node(system, node->node, local_door(system, plane), description, fetch);
      NANOBOX_TRY(await_node(plane, node->services->node_id, kLocalNode));
    }
    return serve_api(loaded, api, recording, signals);
  };
  const auto outcome = run();
  api.plane = {};
  stop();
  api.idempotency.reset();
  if (!outcome) return fail(outcome.error());
  return 0;
}

Result<int> serve_node(LoadedSettings loaded, const RoleOptions& options, const sigset_t& signals) {
  auto joined = NANOBOX_TRY(become_member(loaded, options, std::string(kVersion)));
  const auto place = joined.place;
  loaded.settings.agent.node_id = joined.identity.node_id();
  loaded.settings.network.subnet = place.subnet;
  allow_embedded_images(loaded.settings);
  const auto renewed = [place, data = loaded.data_folder](const NodeIdentity& old) -> Result<NodeIdentity> {
    auto joined = NANOBOX_TRY(
        renew(old, to_string(place.join), std::string(kVersion), std::chrono::steady_clock::now() + kRenew));
    NANOBOX_TRY(joined.identity.save(data));
    return std::move(joined.identity);
  };
  const auto membership =
      NANOBOX_TRY(Membership::start(std::move(joined.identity), loaded.data_folder / "cluster-tls", renewed));
  const auto identity = [&membership] { return membership->identity(); };
  ActorSystemConfig config;
  use_network(config, membership->files());

  RunningNode node;
  node.services = NANOBOX_TRY(
      set_up_services(loaded, NANOBOX_TRY(ControlStore::open(loaded.data_folder / "control.db")), place.part));
  log_start("node", loaded.data_folder, node.services.get());
  caf::actor_system system(config);
  refuse_services(system);
  const AtEnd at_end([&] { node.stop(system, loaded.settings.agent.on_shutdown); });
  node.node = NANOBOX_TRY(start_node(system, node.services));
  node.artifacts = NANOBOX_TRY(ArtifactPort::open({"0.0.0.0", 0}, node.services, identity));
  auto description = describe_node(*node.services, std::string(kVersion));
  // Where the control plane is not there just now, other nodes cannot get templates from here until the next start.
  if (const auto host = own_host(place.control))
    description.data_addr = to_string(ListenAddress{*host, node.artifacts->address().port});
  else
    log_warn(LogComponent::node, {}, "{}", describe(host.error()));
  node.membership = join_node(system, node.node, remote_door(system, place.control, identity), description,
                              fetch_over_tls(identity, place.control.host));
  log_info(LogComponent::node, {{"node", node.services->node_id}}, "node {} of the cluster of {}",
           node.services->node_id, to_string(place.control));
  wait_for_the_end(signals);
  return 0;
}

}  // namespace

Result<int> serve(LoadedSettings loaded, const RoleOptions& options) {
  const auto signals = block_signals();
  // The confined VMM walks to its own files; what is secret is made with its own mode.
  ::umask(022);
  raise_descriptor_limit();
  const auto lock = NANOBOX_TRY(DataFolderLock::take(loaded.data_folder));
  auto served = options.role == Role::node ? serve_node(std::move(loaded), options, signals)
                                           : serve_control(std::move(loaded), options.role == Role::all, signals);
  if (served) log_info(LogComponent::daemon, {}, "nanoboxd stopped");
  return served;
}

}  // namespace nanobox
