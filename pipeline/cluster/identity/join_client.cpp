#include "pipeline/cluster/identity/join_client.hpp"

#include <algorithm>

#include "pipeline/cluster/identity/join_token.hpp"
#include "pipeline/cluster/identity/tls_stream.hpp"

namespace nanobox {

namespace {

tl::unexpected<Error> untrusted(const std::string& address, std::string reason) {
  return fail({.code = ErrorCode::peer_untrusted,
               .attempted = "join",
               .subject = address,
               .reason = std::move(reason),
               .mend = {}});
}

Result<JoinAnswer> exchange(TlsStream& stream, const JoinRequest& request) {
  const auto sent = send_message(stream, to_json(request));
  // A server that has refused this end's certificate says so before it closes, which a write does not hear.
  const auto reply = receive_message(stream);
  if (!reply && !sent && reply.error().code == ErrorCode::connection_lost) return fail(sent.error());
  if (!reply) return fail(reply.error());
  return parse_join_reply(*reply, request.program_version);
}

Result<Joined> accept_answer(const JoinAnswer& answer, const PrivateKey& key, const std::string& wanted_id,
                             const std::string& cluster_id, const std::string& address) {
  const auto certificate = Certificate::from_pem(answer.certificate);
  const auto ca_certificate = Certificate::from_pem(answer.ca_certificate);
  if (!certificate || !ca_certificate) return untrusted(address, "it answers with no certificate");
  auto identity = NANOBOX_TRY(NodeIdentity::make(key, *certificate, *ca_certificate, address));
  if (identity.cluster_id() != cluster_id) return untrusted(address, "it answers with another cluster's certificate");
  if (identity.role() != NodeRole::node || identity.node_id() != answer.grant.node_id ||
      (!wanted_id.empty() && identity.node_id() != wanted_id))
    return untrusted(address, "it answers with a certificate of '" + identity.node_id() + "'");
  return Joined{std::move(identity), answer.grant};
}

Result<Joined> ask(const std::string& address, TlsContext context, const std::string& cluster_id, const PrivateKey& key,
                   JoinRequest request, Deadline deadline) {
  const auto to = NANOBOX_TRY(parse_listen_address(address));
  request.csr = NANOBOX_TRY(key.make_csr());
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
  const auto stream = NANOBOX_TRY(
      tls_connect(to, std::move(context), deadline, {.role = NodeRole::control}, {.idle = left, .until = deadline}));
  const auto answer = exchange(*stream, request);
  if (!answer) {
    auto error = answer.error();
    if (error.subject.empty()) error.subject = address;
    return fail(std::move(error));
  }
  return accept_answer(*answer, key, request.node_id, cluster_id, address);
}

}  // namespace

Result<Joined> join(const JoinOrder& order, Deadline deadline) {
  const auto token = NANOBOX_TRY(parse_join_token(order.token));
  auto context = NANOBOX_TRY(TlsContext::pinned_client(token.ca_key_digest, std::string(join_alpn)));
  return ask(order.control_address, std::move(context), token.ca_key_digest, order.key,
             {.program_version = order.program_version, .token = token.secret, .csr = "", .node_id = order.node_id},
             deadline);
}

Result<Joined> renew(const NodeIdentity& identity, const std::string& control_address,
                     const std::string& program_version, Deadline deadline) {
  auto context = NANOBOX_TRY(TlsContext::mutual_client(identity, std::string(join_alpn)));
  return ask(control_address, std::move(context), identity.cluster_id(), identity.key(),
             {.program_version = program_version, .token = "", .csr = "", .node_id = identity.node_id()}, deadline);
}

}  // namespace nanobox
