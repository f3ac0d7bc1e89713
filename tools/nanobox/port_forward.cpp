#include "tools/nanobox/port_forward.hpp"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>
#include <memory>
#include <optional>

#include "config/unique_fd.hpp"
#include "config/whole_number.hpp"
#include "tools/nanobox/api_client.hpp"
#include "tools/nanobox/event_loop.hpp"
#include "tools/nanobox/json.hpp"
#include "tools/nanobox/lease.hpp"
#include "tools/nanobox/output.hpp"
#include "tools/nanobox/port_tunnel.hpp"
#include "tools/nanobox/sandbox_calls.hpp"
#include "tools/nanobox/table.hpp"

namespace nanobox::cli {
namespace {

/// Where no descriptor is free for another connection.
constexpr std::chrono::milliseconds kAcceptPause{200};

std::optional<std::uint16_t> port_in(std::string_view text, std::uint16_t least) {
  const auto port = whole_number<std::uint16_t>(text);
  return port && *port >= least ? port : std::nullopt;
}

struct Listener {
  UniqueFd socket;
  std::string address;  ///< "127.0.0.1:8080"
  std::uint16_t inside = 0;
};

Result<Listener> listen_at(const std::string& host, PortPair pair) {
  addrinfo hints{};
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const auto port = std::to_string(pair.here);
  const int wrong = ::getaddrinfo(host.c_str(), port.c_str(), &hints, &found);
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> addresses(found, &::freeaddrinfo);
  const auto shown = (host.find(':') == std::string::npos ? host : "[" + host + "]") + ":";
  if (wrong != 0)
    return fail({.code = ErrorCode::invalid_value,
                 .attempted = "listen at",
                 .subject = host,
                 .reason = ::gai_strerror(wrong),
                 .mend = "write --address 127.0.0.1, or another address of this host"});
  UniqueFd socket{::socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
  const int on = 1;
  ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (!socket || ::bind(socket.get(), found->ai_addr, found->ai_addrlen) != 0 || ::listen(socket.get(), 128) != 0) {
    auto error = errno_error(errno, "listen at", shown + port);
    if (errno == EADDRINUSE) error.mend = "name another port, or none (:" + std::to_string(pair.inside) + ")";
    return fail(std::move(error));
  }
  sockaddr_storage bound{};
  socklen_t size = sizeof bound;
  ::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&bound), &size);
  const auto number = bound.ss_family == AF_INET6 ? reinterpret_cast<const sockaddr_in6&>(bound).sin6_port
                                                  : reinterpret_cast<const sockaddr_in&>(bound).sin_port;
  return Listener{.socket = std::move(socket), .address = shown + std::to_string(ntohs(number)), .inside = pair.inside};
}

class Forwarder {
public:
  Forwarder(EventLoop& loop, const ServerAddress& server, const std::string& sandbox_id)
      : loop_(loop), server_(server), sandbox_id_(sandbox_id) {}

  void accept_at(Listener& listener) {
    loop_.when_readable(listener.socket.get(), [this, &listener] {
      for (;;) {
        UniqueFd connection{::accept4(listener.socket.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)};
        if (connection) {
          join(std::move(connection), listener.inside);
          continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
          return loop_.after(kAcceptPause, [this, &listener] { accept_at(listener); });
        if (errno != ECONNABORTED && errno != EINTR) return accept_at(listener);
      }
    });
  }

  Result<void> outcome() const { return outcome_; }

private:
  void join(UniqueFd connection, std::uint16_t port) {
    const int on = 1;
    ::setsockopt(connection.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    auto socket = WebSocket::make(loop_, server_, sandbox_path(sandbox_id_) + "/tcp/" + std::to_string(port));
    std::make_shared<PortTunnel>(loop_, std::move(connection), std::move(socket), [this, port](const Error& error) {
      if (error.code == ErrorCode::sandbox_not_found || error.code == ErrorCode::sandbox_not_running ||
          error.code == ErrorCode::sandbox_paused) {
        outcome_ = fail(error);
        return loop_.stop();
      }
      tell("nanobox: port " + std::to_string(port) + ": " + printable(describe(error)));
    })->start();
  }

  EventLoop& loop_;
  ServerAddress server_;
  std::string sandbox_id_;
  Result<void> outcome_;
};

void hold_lease(EventLoop& loop, const std::function<void()>& renew) {
  loop.after(kLeaseTick, [&loop, renew] {
    renew();
    hold_lease(loop, renew);
  });
}

void stop_when_interrupted(EventLoop& loop, Interruption& interruption) {
  loop.when_readable(interruption.fd(), [&loop, &interruption] {
    if (interruption.check()) return loop.stop();
    stop_when_interrupted(loop, interruption);
  });
}

Result<void> announce(const std::vector<Listener>& listeners, const PortForwardCall& call) {
  if (!call.json) {
    std::string text;
    for (const auto& listener : listeners)
      text +=
          "Forwarding " + listener.address + " to " + call.sandbox_id + ":" + std::to_string(listener.inside) + "\n";
    return print_text(text);
  }
  rapidjson::StringBuffer buffer;
  JsonWriter json(buffer);
  json.StartObject();
  json_key(json, "items");
  json.StartArray();
  for (const auto& listener : listeners) {
    json.StartObject();
    json_put(json, "address", listener.address);
    json_put(json, "port", std::uint64_t{listener.inside});
    json.EndObject();
  }
  json.EndArray();
  json.EndObject();
  return print_json(buffer.GetString());
}

}  // namespace

Result<PortPair> read_port_pair(const std::string& text) {
  const std::string_view all = text;
  const auto colon = all.find(':');
  const auto inside = port_in(colon == std::string_view::npos ? all : all.substr(colon + 1), 1);
  const auto here_text = colon == std::string_view::npos ? all : all.substr(0, colon);
  const auto here = here_text.empty() ? std::optional<std::uint16_t>(0) : port_in(here_text, 0);
  if (inside && here) return PortPair{.here = *here, .inside = *inside};
  return fail({.code = ErrorCode::invalid_value,
               .attempted = "read command line",
               .subject = text,
               .reason = "it is no pair of ports",
               .mend = "write HERE:INSIDE (8080:80), INSIDE alone for the same here, or :INSIDE for a free one"});
}

Result<void> forward_ports(const ServerAddress& server, Interruption& interruption, const PortForwardCall& call) {
  ApiClient client(server, &interruption);
  const auto sandbox = NANOBOX_TRY(client.ask({.method = "GET", .path = sandbox_path(call.sandbox_id)}));
  if (const auto status = json_text(sandbox.json(), "status"); status != "running")
    return fail({.code = ErrorCode::sandbox_not_running,
                 .attempted = "forward ports to",
                 .subject = call.sandbox_id,
                 .reason = "it is " + status,
                 .mend = status == "paused" ? "nanobox resume " + call.sandbox_id : ""});
  std::vector<Listener> listeners;
  for (const auto pair : call.pairs) listeners.push_back(NANOBOX_TRY(listen_at(call.address, pair)));
  EventLoop loop;
  Forwarder forwarder(loop, server, call.sandbox_id);
  stop_when_interrupted(loop, interruption);
  hold_lease(loop, lease_of(server, call.sandbox_id));
  for (auto& listener : listeners) forwarder.accept_at(listener);
  NANOBOX_TRY(announce(listeners, call));
  loop.run();
  return forwarder.outcome();
}

}  // namespace nanobox::cli
