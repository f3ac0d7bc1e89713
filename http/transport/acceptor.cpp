#include "http/transport/acceptor.hpp"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>

#include "config/id.hpp"
#include "config/log.hpp"
#include "http/problem.hpp"
#include "http/transport/response_head.hpp"

namespace nanobox::http::transport {
namespace {

Result<UniqueFd> open_listener(const ListenAddress& address) {
  const auto subject = to_string(address);
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  if (const int wrong = ::getaddrinfo(address.host.c_str(), std::to_string(address.port).c_str(), &hints, &found);
      wrong != 0)
    return fail({.code = ErrorCode::config_invalid,
                 .attempted = "listen on",
                 .subject = subject,
                 .reason = ::gai_strerror(wrong),
                 .mend = "check [api] listen_addr"});
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> list(found, ::freeaddrinfo);
  int number = EADDRNOTAVAIL;
  for (const addrinfo* each = found; each != nullptr; each = each->ai_next) {
    UniqueFd listener(::socket(each->ai_family, each->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, each->ai_protocol));
    const int yes = 1;
    if (listener && ::setsockopt(listener.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) == 0 &&
        ::bind(listener.get(), each->ai_addr, each->ai_addrlen) == 0 && ::listen(listener.get(), 1024) == 0)
      return listener;
    number = errno;
  }
  auto error = errno_error(number, "listen on", subject);
  if (number == EADDRINUSE) error.mend = "stop what listens there, or choose another port in [api] listen_addr";
  return fail(std::move(error));
}

std::uint16_t bound_port(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return 0;
  return ntohs(address.ss_family == AF_INET6 ? reinterpret_cast<const sockaddr_in6&>(address).sin6_port
                                             : reinterpret_cast<const sockaddr_in&>(address).sin_port);
}

UniqueFd open_spare() {
  return UniqueFd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
}

}  // namespace

Result<std::unique_ptr<Acceptor>> Acceptor::listen(const ListenAddress& address, Taker taker) {
  auto listener = NANOBOX_TRY(open_listener(address));
  UniqueFd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake) return fail(errno_error(errno, "listen on", to_string(address)));
  auto bound = address;
  bound.port = bound_port(listener.get());
  return std::unique_ptr<Acceptor>(
      new Acceptor(std::move(bound), std::move(listener), std::move(wake), open_spare(), std::move(taker)));
}

Acceptor::Acceptor(ListenAddress address, UniqueFd listener, UniqueFd wake, UniqueFd spare, Taker taker)
    : address_(std::move(address)),
      listener_(std::move(listener)),
      wake_(std::move(wake)),
      spare_(std::move(spare)),
      taker_(std::move(taker)),
      thread_([this] { run(); }) {}

Acceptor::~Acceptor() {
  close();
}

void Acceptor::close() {
  if (!thread_.joinable()) return;
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto written = ::write(wake_.get(), &one, sizeof one);
  thread_.join();
  listener_.reset();
}

void Acceptor::run() {
  for (;;) {
    std::array<pollfd, 2> watched{pollfd{.fd = wake_.get(), .events = POLLIN, .revents = 0},
                                  pollfd{.fd = listener_.get(), .events = POLLIN, .revents = 0}};
    if (::poll(watched.data(), watched.size(), -1) < 0 && errno != EINTR) return;
    if (watched[0].revents != 0) return;
    UniqueFd socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (socket) {
      const int yes = 1;
      ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
      ::setsockopt(socket.get(), SOL_SOCKET, SO_KEEPALIVE, &yes, sizeof yes);
      try {
        taker_(std::move(socket));
      } catch (const std::exception& wrong) {
        log_error(LogComponent::http, {}, "a new connection was dropped: {}", wrong.what());
      }
    } else if (errno == EMFILE || errno == ENFILE) {
      spare_.reset();
      turn_away(UniqueFd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)));
      spare_ = open_spare();
    }
  }
}

void turn_away(UniqueFd socket) {
  if (!socket) return;
  const Error error{.code = ErrorCode::no_capacity,
                    .attempted = "serve request",
                    .subject = {},
                    .reason = "too many connections are open",
                    .mend = "try again a little later",
                    .retry_after_sec = 1};
  const auto id = make_id("rq");
  const auto body = problem_json(error, {}, id);
  const auto answer = write_head({.status = 503,
                                  .content_type = "application/problem+json",
                                  .request_id = id,
                                  .content_length = body.size(),
                                  .close = true},
                                 problem_headers(error)) +
                      body;
  ::send(socket.get(), answer.data(), answer.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  ::shutdown(socket.get(), SHUT_WR);
  // What the client has sent already would turn the close into a reset that overtakes the answer.
  std::array<char, 4096> dropped;
  while (::recv(socket.get(), dropped.data(), dropped.size(), MSG_DONTWAIT) > 0) {
  }
}

std::uint64_t raise_file_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1024;
  if (limit.rlim_cur < limit.rlim_max) {
    rlimit raised = limit;
    raised.rlim_cur = limit.rlim_max;
    if (::setrlimit(RLIMIT_NOFILE, &raised) == 0) return raised.rlim_cur;
  }
  return limit.rlim_cur;
}

}  // namespace nanobox::http::transport
