#include "http/server.hpp"

#include <pistache/net.h>
#include <pistache/peer.h>
#include <pistache/reactor.h>
#include <pistache/transport.h>
#include <pthread.h>
#include <sys/socket.h>

#include <algorithm>
#include <csignal>
#include <thread>

#include "http/transport/acceptor.hpp"
#include "http/transport/connection.hpp"
#include "http/transport/edge_handler.hpp"
#include "http/transport/hub.hpp"
#include "http/transport/pistache_transport.hpp"

namespace nanobox::http {
namespace {

// Threads of the edge leave signals to the thread that waits for them.
class SignalsBlocked {
public:
  SignalsBlocked() {
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsBlocked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

private:
  sigset_t before_{};
};

// Descriptors that the rest of the process needs, whatever clients do.
constexpr std::uint64_t kept_descriptors = 256;

}  // namespace

struct Server::Impl {
  ListenAddress address;
  std::shared_ptr<transport::Hub> hub;
  std::shared_ptr<Pistache::Aio::Reactor> reactor;
  std::vector<std::shared_ptr<Pistache::Tcp::Transport>> workers;
  std::unique_ptr<transport::Acceptor> acceptor;
  bool stopped = false;
  bool finished_all = true;

  ~Impl() { stop(std::chrono::milliseconds(0)); }

  void take(UniqueFd socket) {
    if (!hub->admit()) return transport::turn_away(std::move(socket));
    const auto turn = static_cast<std::size_t>(socket.get()) % workers.size();
    // Closed by the transport when the peer ends. The address is asked of the socket itself where it matters.
    const auto peer = Pistache::Tcp::Peer::Create(socket.release(), Pistache::Address("127.0.0.1", Pistache::Port(0)));
    workers[turn]->handleNewPeer(peer);
  }

  bool stop(std::chrono::milliseconds drain) {
    if (stopped) return finished_all;
    stopped = true;
    if (acceptor) acceptor->close();
    hub->drain();
    finished_all = hub->wait_idle(drain);
    hub->cut_all(std::chrono::seconds(2));
    hub->stop_watching();
    if (reactor) reactor->shutdown();
    workers.clear();
    reactor.reset();
    return finished_all;
  }
};

Result<Server> Server::start(ServerSettings settings, Router router) {
  if (!transport::transport_is_mended())
    return fail({.code = ErrorCode::internal,
                 .attempted = "start the HTTP server",
                 .subject = {},
                 .reason = "Pistache's own write path is in use instead of ours",
                 .mend = "link Pistache's shared library"});
  const auto files = transport::raise_file_limit();
  const auto room = files > 2 * kept_descriptors ? files - kept_descriptors : files / 2;
  settings.limits.connections = std::min<std::size_t>(settings.limits.connections, room);
  if (settings.threads == 0) settings.threads = std::max(2U, std::thread::hardware_concurrency());
  const auto threads = settings.threads;
  const auto listen_addr = settings.listen_addr;

  const SignalsBlocked blocked;
  auto impl = std::make_unique<Impl>();
  impl->hub = std::make_shared<transport::Hub>(std::move(settings), std::move(router));
  try {
    impl->reactor = Pistache::Aio::Reactor::create();
    impl->reactor->init(Pistache::Aio::AsyncContext(threads, "http"));
    const auto key = impl->reactor->addHandler(
        std::make_shared<Pistache::Tcp::Transport>(std::make_shared<transport::EdgeHandler>(impl->hub)));
    for (const auto& handler : impl->reactor->handlers(key))
      impl->workers.push_back(std::static_pointer_cast<Pistache::Tcp::Transport>(handler));
    impl->reactor->run();
  } catch (const std::exception& wrong) {
    return fail({.code = ErrorCode::io_failed,
                 .attempted = "start the HTTP server",
                 .subject = to_string(listen_addr),
                 .reason = wrong.what(),
                 .mend = {}});
  }
  impl->acceptor = NANOBOX_TRY(transport::Acceptor::listen(
      listen_addr, [self = impl.get()](UniqueFd socket) { self->take(std::move(socket)); }));
  impl->address = impl->acceptor->address();
  return Server(std::move(impl));
}

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Server::Server(Server&&) noexcept = default;

Server& Server::operator=(Server&& other) noexcept {
  if (this != &other) {
    if (impl_) impl_->stop(std::chrono::milliseconds(0));
    impl_ = std::move(other.impl_);
  }
  return *this;
}

Server::~Server() {
  if (impl_) impl_->stop(std::chrono::milliseconds(0));
}

const ListenAddress& Server::address() const {
  return impl_->address;
}
Server::Counts Server::counts() const {
  return impl_->hub->counts();
}
bool Server::stop(std::chrono::milliseconds drain) {
  return impl_->stop(drain);
}

}  // namespace nanobox::http
