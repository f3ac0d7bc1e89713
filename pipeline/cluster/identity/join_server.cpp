#include "pipeline/cluster/identity/join_server.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include "config/log.hpp"
#include "pipeline/cluster/identity/join_token.hpp"
#include "pipeline/cluster/identity/tls_stream.hpp"

namespace nanobox {

namespace {

constexpr std::chrono::milliseconds kFarewell{1000};

Result<TlsContext> server_context(const NodeIdentity& identity) {
  return TlsContext::open_server(identity, {std::string(join_alpn)});
}

tl::unexpected<Error> refuse(ErrorCode code, std::string reason, std::string mend = {}) {
  return fail({.code = code, .attempted = "join", .subject = "", .reason = std::move(reason), .mend = std::move(mend)});
}

bool can_answer(const Error& error) {
  return error.code != ErrorCode::connection_lost && error.code != ErrorCode::deadline_exceeded;
}

}  // namespace

Result<std::unique_ptr<JoinServer>> JoinServer::start(JoinServerSettings settings, CertificateAuthority authority,
                                                      std::shared_ptr<RecordStore> store, Decide decide) {
  auto identity = NANOBOX_TRY(authority.make_identity(settings.control_id, NodeRole::control, settings.now(), {}));
  auto context = NANOBOX_TRY(server_context(identity));
  auto listener = NANOBOX_TRY(TcpListener::bind(settings.address));
  return std::unique_ptr<JoinServer>(new JoinServer(std::move(settings), std::move(authority), std::move(store),
                                                    std::move(decide), std::move(listener), std::move(identity),
                                                    std::move(context)));
}

JoinServer::JoinServer(JoinServerSettings settings, CertificateAuthority authority, std::shared_ptr<RecordStore> store,
                       Decide decide, TcpListener listener, NodeIdentity identity, TlsContext context)
    : settings_(std::move(settings)),
      authority_(std::move(authority)),
      store_(std::move(store)),
      decide_(std::move(decide)),
      listener_(std::move(listener)),
      identity_(std::move(identity)),
      context_(std::move(context)),
      streams_(std::max<std::size_t>(settings_.connections, 1)) {
  for (std::size_t slot = 0; slot < streams_.size(); ++slot) threads_.emplace_back([this, slot] { work(slot); });
}

JoinServer::~JoinServer() {
  listener_.wake();
  const std::lock_guard lock(mutex_);
  stopping_ = true;
  for (auto* stream : streams_)
    if (stream != nullptr) stream->cut();
}

void JoinServer::work(std::size_t slot) {
  for (;;) {
    auto accepted = listener_.accept();
    if (!accepted) {
      if (accepted.error().code != ErrorCode::cancelled)
        log_error(LogComponent::cluster, {}, "{}", describe(accepted.error()));
      return;
    }
    serve(slot, std::move(*accepted));
  }
}

void JoinServer::serve(std::size_t slot, TcpAccepted accepted) {
  const auto until = std::chrono::steady_clock::now() + settings_.deadline;
  auto stream = TlsStream::over(std::move(accepted.socket), context(), std::move(accepted.peer),
                                {.idle = settings_.deadline, .until = until});
  if (!stream) {
    log_error(LogComponent::cluster, {}, "{}", describe(stream.error()));
    return;
  }
  if (!enter(slot, stream->get())) return;
  converse(**stream);
  enter(slot, nullptr);
}

bool JoinServer::enter(std::size_t slot, TlsStream* stream) {
  const std::lock_guard lock(mutex_);
  streams_[slot] = stream;
  if (stopping_) streams_[slot] = nullptr;
  return !stopping_;
}

TlsContext JoinServer::context() {
  const auto now = settings_.now();
  const std::lock_guard lock(mutex_);
  if (!identity_.needs_renewal(now)) return context_;
  auto identity = authority_.make_identity(settings_.control_id, NodeRole::control, now, {});
  auto context = identity ? server_context(*identity) : Result<TlsContext>(fail(identity.error()));
  if (context) {
    identity_ = std::move(*identity);
    context_ = std::move(*context);
  } else {
    log_error(LogComponent::cluster, {}, "{}", describe(context.error()));
  }
  return context_;
}

void JoinServer::converse(TlsStream& stream) {
  if (const auto shaken = stream.handshake(); !shaken) {
    log_info(LogComponent::cluster, {}, "{}", describe(shaken.error()));
    return;
  }
  const auto message = receive_message(stream);
  const auto answer = message ? consider(stream, *message) : Result<JoinAnswer>(fail(message.error()));
  if (!answer) log_info(LogComponent::cluster, {}, "refused {}: {}", stream.subject(), describe(answer.error()));
  if (!answer && !can_answer(answer.error())) return;
  if (send_message(stream, answer ? to_json(*answer) : refusal_json(answer.error())) && stream.end())
    stream.linger(kFarewell);
}

Result<JoinAnswer> JoinServer::consider(const TlsStream& stream, std::string_view message) {
  auto request = NANOBOX_TRY(parse_join_request(message, settings_.program_version));
  const auto csr = NANOBOX_TRY(SigningRequest::from_pem(request.csr));
  if (request.token.empty()) {
    NANOBOX_TRY(check_renewal(stream, request));
    return admit(request, csr, true);
  }
  const auto token = NANOBOX_TRY(redeem_token(*store_, std::exchange(request.token, {}), settings_.now()));
  auto answer = admit(request, csr, false);
  if (!answer)
    if (const auto back = return_token(*store_, token); !back)
      log_error(LogComponent::cluster, {}, "{}", describe(back.error()));
  return answer;
}

Result<void> JoinServer::check_renewal(const TlsStream& stream, const JoinRequest& request) const {
  if (!stream.peer())
    return refuse(ErrorCode::token_invalid, "the request has neither a token nor a certificate of this cluster",
                  "make a token on the control node");
  if (stream.peer()->role != NodeRole::node)
    return refuse(ErrorCode::forbidden, "the certificate shown is none of a node");
  if (stream.peer()->node_id != request.node_id)
    return refuse(ErrorCode::forbidden,
                  "the certificate shown is of node '" + stream.peer()->node_id + "', not '" + request.node_id + "'");
  return {};
}

Result<JoinAnswer> JoinServer::admit(const JoinRequest& request, const SigningRequest& csr, bool renewal) const {
  auto grant = NANOBOX_TRY(decide_(request, csr.key_digest(), renewal));
  NANOBOX_TRY(check_grant(grant));
  if (renewal && grant.node_id != request.node_id)
    return refuse(ErrorCode::internal, "the control plane gave the node another id");
  const auto certificate =
      NANOBOX_TRY(authority_.issue(csr, grant.node_id, NodeRole::node, settings_.now(), settings_.lifetime));
  return JoinAnswer{
      .certificate = certificate.pem(), .ca_certificate = authority_.certificate().pem(), .grant = std::move(grant)};
}

}  // namespace nanobox
