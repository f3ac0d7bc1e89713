#include "pipeline/cluster/identity/tcp.hpp"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <limits>
#include <memory>

namespace nanobox {

namespace {

using AddressList = std::unique_ptr<addrinfo, void (*)(addrinfo*)>;

Result<AddressList> look_up(const ListenAddress& address, int flags, const char* attempted, ErrorCode code) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  if (const int wrong = ::getaddrinfo(address.host.c_str(), std::to_string(address.port).c_str(), &hints, &found);
      wrong != 0)
    return fail({.code = code,
                 .attempted = attempted,
                 .subject = to_string(address),
                 .reason = ::gai_strerror(wrong),
                 .mend = "check the name",
                 .transient = wrong == EAI_AGAIN});
  return AddressList(found, ::freeaddrinfo);
}

void set_option(int fd, int level, int option, int value) {
  ::setsockopt(fd, level, option, &value, sizeof value);
}

void tune(int fd) {
  set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, 15);
  set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, 5);
  set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, 3);
}

Error late(const ListenAddress& to) {
  return {.code = ErrorCode::deadline_exceeded,
          .attempted = "connect to",
          .subject = to_string(to),
          .reason = "no answer in time",
          .mend = "",
          .transient = true};
}

Result<UniqueFd> connect_one(const addrinfo& address, const ListenAddress& to, Deadline deadline) {
  const auto failed = [&](int number) {
    auto error = errno_error(number, "connect to", to_string(to),
                             number == ECONNREFUSED ? ErrorCode::connection_refused : ErrorCode::connection_failed);
    error.transient = true;
    return fail(std::move(error));
  };
  UniqueFd socket(::socket(address.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, address.ai_protocol));
  if (!socket) return failed(errno);
  tune(socket.get());
  if (::connect(socket.get(), address.ai_addr, address.ai_addrlen) == 0) return socket;
  if (errno != EINPROGRESS) return failed(errno);
  pollfd watched{.fd = socket.get(), .events = POLLOUT, .revents = 0};
  for (;;) {
    const int ready = ::poll(&watched, 1, poll_patience(deadline));
    if (ready > 0) break;
    if (ready == 0) return fail(late(to));
    if (errno != EINTR) return failed(errno);
  }
  int number = 0;
  socklen_t size = sizeof number;
  if (::getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &number, &size) != 0) number = errno;
  if (number != 0) return failed(number);
  return socket;
}

ListenAddress address_of(const sockaddr_storage& address, socklen_t size) {
  std::array<char, NI_MAXHOST> host{};
  std::array<char, NI_MAXSERV> port{};
  if (::getnameinfo(reinterpret_cast<const sockaddr*>(&address), size, host.data(), host.size(), port.data(),
                    port.size(), NI_NUMERICHOST | NI_NUMERICSERV) != 0)
    return {};
  return {host.data(), static_cast<std::uint16_t>(std::stoi(port.data()))};
}

/// What became of one connection before it was accepted (accept(2): "treat them like EAGAIN").
bool is_of_client(int number) {
  switch (number) {
    case EAGAIN:
    case EINTR:
    case ECONNABORTED:
    case EPROTO:
    case EPERM:
    case ENETDOWN:
    case ENETUNREACH:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case ENONET:
    case ENOPROTOOPT:
    case EOPNOTSUPP:
      return true;
    default:
      return false;
  }
}

bool is_exhaustion(int number) {
  return number == EMFILE || number == ENFILE || number == ENOBUFS || number == ENOMEM;
}

// Who waits stays in the kernel's queue meanwhile.
constexpr int kPauseMs = 100;

}  // namespace

int poll_patience(Deadline deadline) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now()).count();
  return static_cast<int>(std::clamp<std::int64_t>(left, 0, std::numeric_limits<int>::max()));
}

Result<UniqueFd> tcp_connect(const ListenAddress& to, Deadline deadline) {
  const auto list = NANOBOX_TRY(look_up(to, 0, "connect to", ErrorCode::connection_failed));
  Result<UniqueFd> last = fail(late(to));
  for (const addrinfo* each = list.get(); each != nullptr; each = each->ai_next) {
    last = connect_one(*each, to, deadline);
    if (last || last.error().code == ErrorCode::deadline_exceeded) break;
  }
  return last;
}

Result<TcpListener> TcpListener::bind(const ListenAddress& address) {
  const auto list = NANOBOX_TRY(look_up(address, AI_PASSIVE, "listen on", ErrorCode::config_invalid));
  int number = EADDRNOTAVAIL;
  for (const addrinfo* each = list.get(); each != nullptr; each = each->ai_next) {
    UniqueFd socket(::socket(each->ai_family, each->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, each->ai_protocol));
    if (socket) set_option(socket.get(), SOL_SOCKET, SO_REUSEADDR, 1);
    if (!socket || ::bind(socket.get(), each->ai_addr, each->ai_addrlen) != 0 ||
        ::listen(socket.get(), SOMAXCONN) != 0) {
      number = errno;
      continue;
    }
    UniqueFd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    sockaddr_storage bound{};
    socklen_t size = sizeof bound;
    if (!wake || ::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&bound), &size) != 0)
      return fail(errno_error(errno, "listen on", to_string(address)));
    return TcpListener({address.host, address_of(bound, size).port}, std::move(socket), std::move(wake));
  }
  auto error = errno_error(number, "listen on", to_string(address));
  if (number == EADDRINUSE) error.mend = "stop what listens there, or choose another port";
  return fail(std::move(error));
}

Result<TcpAccepted> TcpListener::accept(std::optional<Deadline> deadline) {
  bool pause = false;
  for (;;) {
    std::array<pollfd, 2> watched{
        pollfd{.fd = wake_.get(), .events = POLLIN, .revents = 0},
        pollfd{.fd = pause ? -1 : socket_.get(), .events = POLLIN, .revents = 0},
    };
    int patience = deadline ? poll_patience(*deadline) : -1;
    if (pause) patience = deadline ? std::min(patience, kPauseMs) : kPauseMs;
    const int ready = ::poll(watched.data(), watched.size(), patience);
    if (ready < 0 && errno != EINTR) return fail(errno_error(errno, "accept on", to_string(address_)));
    if (ready < 0) continue;
    if (watched[0].revents != 0)
      return fail({.code = ErrorCode::cancelled,
                   .attempted = "accept on",
                   .subject = to_string(address_),
                   .reason = "it was woken",
                   .mend = {}});
    if (deadline && std::chrono::steady_clock::now() >= *deadline)
      return fail({.code = ErrorCode::deadline_exceeded,
                   .attempted = "accept on",
                   .subject = to_string(address_),
                   .reason = "nobody came in time",
                   .mend = "",
                   .transient = true});
    pause = false;
    if (ready == 0) continue;
    sockaddr_storage from{};
    socklen_t size = sizeof from;
    UniqueFd socket(::accept4(socket_.get(), reinterpret_cast<sockaddr*>(&from), &size, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (socket) {
      tune(socket.get());
      return TcpAccepted{std::move(socket), to_string(address_of(from, size))};
    }
    pause = is_exhaustion(errno);
    if (!pause && !is_of_client(errno)) return fail(errno_error(errno, "accept on", to_string(address_)));
  }
}

void TcpListener::wake() {
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto written = ::write(wake_.get(), &one, sizeof one);
}

}  // namespace nanobox
