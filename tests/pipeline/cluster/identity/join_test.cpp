#include <fcntl.h>
#include <openssl/err.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <catch2/catch.hpp>
#include <latch>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

#include "cluster_fixture.hpp"
#include "pipeline/cluster/identity/join_client.hpp"
#include "pipeline/cluster/identity/join_server.hpp"
#include "pipeline/cluster/identity/join_token.hpp"
#include "pipeline/cluster/identity/openssl_handles.hpp"
#include "pipeline/store/control_store.hpp"

using namespace nanobox;
using namespace nanobox::test;
using namespace std::chrono_literals;

namespace {

/// Gives each key one id, and each id to one key.
class Registrar {
public:
  Result<JoinGrant> operator()(const JoinRequest& request, const std::string& digest, bool renewal) {
    const std::lock_guard lock(mutex_);
    ++calls_;
    if (renewal) ++renewals_;
    if (!request.token.empty()) ++secrets_;
    const auto id = request.node_id.empty() ? "node-" + digest.substr(0, 8) : request.node_id;
    if (const auto known = keys_.try_emplace(id, digest).first; known->second != digest)
      return fail({.code = ErrorCode::node_exists,
                   .attempted = "join",
                   .subject = id,
                   .reason = "another node has the id '" + id + "'",
                   .mend = "choose another with NANOBOX_NODE_ID"});
    return JoinGrant{.node_id = id,
                     .subnet_part = "10.100.4.0/22",
                     .cluster_subnet = "10.100.0.0/16",
                     .listen_addr = "127.0.0.1:7000"};
  }
  int calls() {
    const std::lock_guard lock(mutex_);
    return calls_;
  }
  int renewals() {
    const std::lock_guard lock(mutex_);
    return renewals_;
  }
  int secrets() {
    const std::lock_guard lock(mutex_);
    return secrets_;
  }

private:
  std::mutex mutex_;
  std::map<std::string, std::string> keys_;
  int calls_ = 0;
  int renewals_ = 0;
  int secrets_ = 0;
};

/// A control plane that takes nodes.
struct Cluster : Authority {
  explicit Cluster(std::chrono::milliseconds deadline = 10s, std::chrono::milliseconds skew = 0ms,
                   std::size_t connections = 8)
      : server(JoinServer::start({.address = {"127.0.0.1", 0},
                                  .control_id = "control-1",
                                  .program_version = "0.1.0",
                                  .deadline = deadline,
                                  .connections = connections,
                                  .now = [skew] { return wall_now() + skew; }},
                                 ca, store, [this](const auto&... of) { return registrar(of...); })
                   .value()) {}

  std::string token(std::chrono::milliseconds lifetime = 1h, WallTime now = wall_now()) {
    return to_string(issue_token(*store, ca.key_digest(), lifetime, now).value());
  }
  std::string address() const { return to_string(server->address()); }
  JoinOrder order(const std::string& text, const std::string& node_id = "node-1",
                  PrivateKey key = PrivateKey::generate().value()) const {
    return {.control_address = address(),
            .token = text,
            .node_id = node_id,
            .program_version = "0.1.0",
            .key = std::move(key)};
  }
  std::unique_ptr<TlsStream> connect(const TlsContext& context) const {
    return tls_connect(server->address(), context, soon(), {}, {.idle = 10s}).value();
  }
  std::unique_ptr<TlsStream> connect() const {
    return connect(TlsContext::pinned_client(ca.key_digest(), std::string(join_alpn)).value());
  }

  std::shared_ptr<ControlStore> store = ControlStore::open(folder / "control.db").value();
  Registrar registrar;
  std::unique_ptr<JoinServer> server;
};

ErrorCode code_of(const auto& result) {
  return result ? ErrorCode::none_reserved : result.error().code;
}

/// What the server replies to `message`.
Result<JoinAnswer> ask(TlsStream& stream, std::string_view message) {
  if (const auto sent = send_message(stream, message); !sent) return fail(sent.error());
  const auto reply = receive_message(stream);
  if (!reply) return fail(reply.error());
  return parse_join_reply(*reply, "0.1.0");
}

JoinRequest request_with(const std::string& token, std::string csr) {
  return {.program_version = "0.1.0",
          .token = parse_join_token(token).value().secret,
          .csr = std::move(csr),
          .node_id = "node-1"};
}

}  // namespace

TEST_CASE("a node joins with a token, and its identity is good for the cluster's TLS", "[join]") {
  Cluster cluster;
  const auto joined = join(cluster.order(cluster.token()), soon());
  REQUIRE(joined);
  CHECK(joined->identity.node_id() == "node-1");
  CHECK(joined->identity.role() == NodeRole::node);
  CHECK(joined->identity.cluster_id() == cluster.ca.key_digest());
  CHECK(joined->identity.control_address() == cluster.address());
  CHECK(joined->grant.subnet_part == "10.100.4.0/22");
  CHECK(joined->grant.listen_addr == "127.0.0.1:7000");
  CHECK(cluster.registrar.secrets() == 0);
  const auto pair = shake_hands(
      TlsContext::mutual_client(joined->identity).value(),
      TlsContext::mutual_server(cluster.identity("control-1", NodeRole::control)).value(),
      {.client_rule = {.role = NodeRole::control}, .server_rule = {.role = NodeRole::node, .node_id = "node-1"}});
  CHECK(pair.client);
  CHECK(pair.server);
}

TEST_CASE("a node that wants no id of its own takes the one it is given", "[join]") {
  Cluster cluster;
  const auto joined = join(cluster.order(cluster.token(), ""), soon());
  REQUIRE(joined);
  CHECK(joined->identity.node_id() == joined->grant.node_id);
}

TEST_CASE("a token that is unknown, expired or used lets nobody in", "[join]") {
  Cluster cluster;
  const auto unknown = to_string(JoinToken{cluster.ca.key_digest(), std::string(64, '0')});
  CHECK(code_of(join(cluster.order(unknown), soon())) == ErrorCode::token_invalid);
  CHECK(code_of(join(cluster.order(cluster.token(1h, wall_now() - 2h)), soon())) == ErrorCode::token_expired);
  CHECK(code_of(join(cluster.order("nbx1_what"), soon())) == ErrorCode::token_invalid);
  const auto token = cluster.token();
  REQUIRE(join(cluster.order(token, "node-1"), soon()));
  const auto again = join(cluster.order(token, "node-2"), soon());
  CHECK(code_of(again) == ErrorCode::token_invalid);
  CHECK(again.error().reason.find("used before") != std::string::npos);
  CHECK(cluster.registrar.calls() == 1);
}

TEST_CASE("of nodes that come at once with one token, exactly one joins", "[join]") {
  Cluster cluster;
  const auto token = cluster.token();
  std::atomic<int> joined = 0;
  std::atomic<int> refused = 0;
  std::latch together(12);
  {
    std::vector<std::jthread> nodes;
    for (int i = 0; i < 12; ++i)
      nodes.emplace_back([&, i] {
        const auto order = cluster.order(token, "node-" + std::to_string(i));
        together.arrive_and_wait();
        const auto result = join(order, soon(20s));
        if (result) ++joined;
        if (code_of(result) == ErrorCode::token_invalid) ++refused;
      });
  }
  CHECK(joined == 1);
  CHECK(refused == 11);
}

TEST_CASE("a server of another cluster than the token is not trusted, and never sees the secret", "[join]") {
  Cluster cluster;
  Cluster other;
  const auto token = cluster.token();
  auto order = cluster.order(token);
  order.control_address = other.address();
  const auto refused = join(order, soon());
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == ErrorCode::peer_untrusted);
  CHECK(refused.error().reason.find("another cluster") != std::string::npos);
  CHECK(other.registrar.calls() == 0);
  CHECK(join(cluster.order(token), soon()));
}

TEST_CASE("a node of the cluster cannot pose as its control plane", "[join]") {
  Cluster cluster;
  auto listener = TcpListener::bind({"127.0.0.1", 0}).value();
  auto posing = std::async(std::launch::async, [&] {
    return accept_tls(listener, TlsContext::open_server(cluster.identity("node-7"), {std::string(join_alpn)}).value());
  });
  auto order = cluster.order(cluster.token());
  order.control_address = to_string(listener.address());
  CHECK(code_of(join(order, soon())) == ErrorCode::peer_untrusted);
  posing.wait();
}

TEST_CASE("a node of another version is told both versions, and keeps its token", "[join]") {
  Cluster cluster;
  const auto token = cluster.token();
  auto request = request_with(token, PrivateKey::generate().value().make_csr().value());
  request.protocol = 2;
  request.program_version = "0.9.0";
  const auto refused = ask(*cluster.connect(), to_json(request));
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == ErrorCode::version_incompatible);
  CHECK(refused.error().reason.find("version 2 (NanoBox 0.9.0)") != std::string::npos);
  CHECK(refused.error().reason.find("version 1 (NanoBox 0.1.0)") != std::string::npos);
  CHECK(join(cluster.order(token), soon()));
}

TEST_CASE("a control plane of another version is recognised by the node", "[join]") {
  Authority authority;
  auto listener = TcpListener::bind({"127.0.0.1", 0}).value();
  for (const char* reply :
       {R"({"protocol":2,"program":"0.9.0","granted":{}})",
        R"({"protocol":2,"error":{"code":"version_incompatible","reason":"too old","mend":"","more":1}})"}) {
    auto serving = std::async(std::launch::async, [&] {
      const auto control = authority.identity("control-1", NodeRole::control);
      auto stream = accept_tls(listener, TlsContext::open_server(control, {std::string(join_alpn)}).value());
      if (!stream || !receive_message(**stream)) return false;
      return send_message(**stream, reply).has_value();
    });
    const auto refused = join({.control_address = to_string(listener.address()),
                               .token = to_string(JoinToken{authority.ca.key_digest(), std::string(64, '0')}),
                               .node_id = "node-1",
                               .program_version = "0.1.0",
                               .key = PrivateKey::generate().value()},
                              soon());
    CHECK(code_of(refused) == ErrorCode::version_incompatible);
    CHECK(serving.get());
  }
}

TEST_CASE("a bad request is refused, and does not use up its token", "[join]") {
  Cluster cluster;
  const auto token = cluster.token();
  CHECK(code_of(ask(*cluster.connect(), to_json(request_with(token, "no csr")))) == ErrorCode::invalid_value);
  CHECK(code_of(ask(*cluster.connect(), "{")) == ErrorCode::malformed_json);
  CHECK(code_of(ask(*cluster.connect(), "\xff\xfe\0garbage")) == ErrorCode::malformed_json);
  CHECK(cluster.registrar.calls() == 0);
  CHECK(join(cluster.order(token), soon()));
}

TEST_CASE("a second node with the id of a first is refused and may take another with the same token", "[join]") {
  Cluster cluster;
  REQUIRE(join(cluster.order(cluster.token(), "node-1"), soon()));
  const auto token = cluster.token();
  const auto refused = join(cluster.order(token, "node-1"), soon());
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == ErrorCode::node_exists);
  CHECK(refused.error().mend == "choose another with NANOBOX_NODE_ID");
  CHECK(join(cluster.order(token, "node-2"), soon()));
}

TEST_CASE("a node that comes again with its key keeps its id", "[join]") {
  Cluster cluster;
  const StoreFolder data;
  const auto key = [&] { return PrivateKey::open_or_make(identity_key_file(data.path())).value(); };
  REQUIRE(join(cluster.order(cluster.token(), "node-1", key()), soon()));
  CHECK(join(cluster.order(cluster.token(), "node-1", key()), soon()));
}

TEST_CASE("bytes that are no TLS, no message or too much neither stop the server nor are answered", "[join]") {
  Cluster cluster;
  for (const std::string& bytes :
       {std::string("GET / HTTP/1.1\r\n\r\n"), std::string(100'000, '\x16'), std::string()}) {
    const auto socket = tcp_connect(cluster.server->address(), soon()).value();
    std::string_view left = bytes;
    while (!left.empty()) {
      const auto count = ::send(socket.get(), left.data(), left.size(), MSG_NOSIGNAL);
      if (count <= 0) break;
      left.remove_prefix(static_cast<std::size_t>(count));
    }
  }
  auto stream = cluster.connect();
  REQUIRE(stream->write(std::as_bytes(std::span(std::string_view("\xff\xff\xff\xff\0", 5)))));
  const auto reply = receive_message(*stream);
  REQUIRE(reply);
  CHECK(code_of(parse_join_reply(*reply, "")) == ErrorCode::body_too_large);
  CHECK(join(cluster.order(cluster.token()), soon()));
}

TEST_CASE("silent clients are cut at the server's deadline, and others get their turn", "[join]") {
  Cluster cluster(200ms, 0ms, 2);
  const auto began = std::chrono::steady_clock::now();
  auto silent = tcp_connect(cluster.server->address(), soon()).value();  // no handshake
  auto quiet = cluster.connect();                                        // no message
  // Both threads are busy with them, and this one gets its turn nevertheless.
  CHECK(join(cluster.order(cluster.token()), soon()));
  CHECK(code_of(receive_message(*quiet)) == ErrorCode::connection_lost);
  CHECK(std::chrono::steady_clock::now() - began < 5s);
}

TEST_CASE("the server stops at once with clients connected", "[join]") {
  auto cluster = std::make_unique<Cluster>(1h);
  const auto silent = tcp_connect(cluster->server->address(), soon()).value();
  const auto quiet = cluster->connect();
  const auto began = std::chrono::steady_clock::now();
  cluster->server.reset();
  CHECK(std::chrono::steady_clock::now() - began < 2s);
  CHECK(code_of(receive_message(*quiet)) == ErrorCode::connection_lost);
}

TEST_CASE("a renewal needs no token, and keeps the node's id and key", "[join]") {
  Cluster cluster;
  const auto first = join(cluster.order(cluster.token()), soon()).value();
  const auto second = renew(first.identity, cluster.address(), "0.1.0", soon());
  REQUIRE(second);
  CHECK(second->identity.node_id() == "node-1");
  CHECK(second->identity.key().digest() == first.identity.key().digest());
  CHECK(second->identity.certificate().pem() != first.identity.certificate().pem());
  CHECK(cluster.registrar.renewals() == 1);
}

TEST_CASE("a renewal without a certificate, for another id, or by the control plane is refused", "[join]") {
  Cluster cluster;
  JoinRequest request{.program_version = "0.1.0",
                      .token = "",
                      .csr = PrivateKey::generate().value().make_csr().value(),
                      .node_id = "node-1"};
  CHECK(code_of(ask(*cluster.connect(), to_json(request))) == ErrorCode::token_invalid);
  const auto as = [&](const NodeIdentity& identity) {
    return cluster.connect(TlsContext::mutual_client(identity, std::string(join_alpn)).value());
  };
  CHECK(code_of(ask(*as(cluster.identity("node-2")), to_json(request))) == ErrorCode::forbidden);
  CHECK(code_of(ask(*as(cluster.identity("node-1", NodeRole::control)), to_json(request))) == ErrorCode::forbidden);
  CHECK(cluster.registrar.calls() == 0);
}

TEST_CASE("a renewal with an expired certificate is refused, and the node hears why", "[join]") {
  Cluster cluster;
  const auto old = cluster.identity("node-1", NodeRole::node, wall_now() - std::chrono::hours(24 * 31));
  CHECK(code_of(renew(old, cluster.address(), "0.1.0", soon())) == ErrorCode::peer_untrusted);
  CHECK(cluster.registrar.calls() == 0);
}

TEST_CASE("a renewal with a certificate of another CA is refused by both ends", "[join]") {
  Cluster cluster;
  const Authority foreign;
  const auto stranger = foreign.identity("node-1");
  CHECK(code_of(renew(stranger, cluster.address(), "0.1.0", soon())) == ErrorCode::peer_untrusted);

  // A stranger that does not care who the server is gets no further.
  const SslContextHandle context(::SSL_CTX_new(::TLS_client_method()));
  REQUIRE(::SSL_CTX_use_certificate(context.get(), stranger.certificate().get()) == 1);
  REQUIRE(::SSL_CTX_use_PrivateKey(context.get(), stranger.key().get()) == 1);
  const unsigned char alpn[] = "\x0cnanobox-join";
  ::SSL_CTX_set_alpn_protos(context.get(), alpn, sizeof alpn - 1);
  auto socket = tcp_connect(cluster.server->address(), soon()).value();
  ::fcntl(socket.get(), F_SETFL, ::fcntl(socket.get(), F_GETFL) & ~O_NONBLOCK);
  const SslHandle ssl(::SSL_new(context.get()));
  ::SSL_set_fd(ssl.get(), socket.get());
  REQUIRE(::SSL_connect(ssl.get()) == 1);
  char byte = 0;
  CHECK(::SSL_read(ssl.get(), &byte, 1) <= 0);
  CHECK(ERR_GET_REASON(::ERR_peek_error()) == SSL_R_TLSV1_ALERT_UNKNOWN_CA);
  CHECK(cluster.registrar.calls() == 0);
}

TEST_CASE("nodes join and renew with a control plane whose clock is five minutes off", "[join]") {
  for (const auto skew : {-5min, 5min}) {
    Cluster cluster(10s, skew);
    const auto joined = join(cluster.order(cluster.token()), soon());
    REQUIRE(joined);
    CHECK(renew(joined->identity, cluster.address(), "0.1.0", soon()));
  }
}
