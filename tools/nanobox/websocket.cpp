#include "tools/nanobox/websocket.hpp"

#include <boost/asio/connect.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/beast/core/bind_handler.hpp>
#include <boost/beast/core/buffers_to_string.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/websocket/stream.hpp>

#include <netinet/tcp.h>

#include <deque>
#include <optional>
#include <vector>

#include "config/listen_address.hpp"
#include "tools/nanobox/api_client.hpp"

namespace nanobox::cli {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
namespace websocket = beast::websocket;
using Failure = boost::system::error_code;
using asio::ip::tcp;
using namespace std::chrono_literals;

constexpr auto kConnectPatience = 5s;
constexpr auto kHandshakePatience = 30s;
constexpr std::size_t kPiece = 64U << 10;

/// A server whose host vanished is noticed after a minute, also while nothing is sent.
void watch_connection(tcp::socket& socket) {
  Failure ignored;
  socket.set_option(tcp::no_delay(true), ignored);
  socket.set_option(asio::socket_base::keep_alive(true), ignored);
  const auto set = [&](int option, int value) {
    ::setsockopt(socket.native_handle(), IPPROTO_TCP, option, &value, sizeof value);
  };
  set(TCP_KEEPIDLE, 20);
  set(TCP_KEEPINTVL, 10);
  set(TCP_KEEPCNT, 4);
  set(TCP_USER_TIMEOUT, 60'000);
}

/// A TCP connection, with TLS or without. Beast's operations are large templates: erased here, they are made once, not
/// once for each kind of connection.
class ServerStream {
public:
  using executor_type = tcp::socket::executor_type;
  explicit ServerStream(asio::io_context& context) : socket_(context) {}

  executor_type get_executor() { return socket_.get_executor(); }
  tcp::socket& socket() { return socket_; }
  asio::ssl::stream<tcp::socket&>& secured(asio::ssl::context& context) { return tls_.emplace(socket_, context); }
  void close() {
    Failure ignored;
    socket_.close(ignored);
  }

  template <class Buffers, class Handler>
  void async_read_some(const Buffers& buffers, Handler&& handler) {
    const auto into = all_of<asio::mutable_buffer>(buffers);
    auto done = erased(std::forward<Handler>(handler));
    tls_ ? tls_->async_read_some(into, std::move(done)) : socket_.async_read_some(into, std::move(done));
  }
  template <class Buffers, class Handler>
  void async_write_some(const Buffers& buffers, Handler&& handler) {
    const auto from = all_of<asio::const_buffer>(buffers);
    auto done = erased(std::forward<Handler>(handler));
    tls_ ? tls_->async_write_some(from, std::move(done)) : socket_.async_write_some(from, std::move(done));
  }

private:
  using Done = std::function<void(Failure, std::size_t)>;
  template <class Handler>
  static Done erased(Handler&& handler) {
    auto kept = std::make_shared<std::decay_t<Handler>>(std::forward<Handler>(handler));
    return [kept](Failure failure, std::size_t bytes) { std::invoke(std::move(*kept), failure, bytes); };
  }
  template <class Buffer, class Buffers>
  static std::vector<Buffer> all_of(const Buffers& buffers) {
    return {asio::buffer_sequence_begin(buffers), asio::buffer_sequence_end(buffers)};
  }

  tcp::socket socket_;
  std::optional<asio::ssl::stream<tcp::socket&>> tls_;
};

// How Beast ends a connection of ours.
void beast_close_socket(ServerStream& stream) {
  stream.close();
}
template <class Handler>
void async_teardown(beast::role_type, ServerStream& stream, Handler&& handler) {
  stream.close();
  asio::post(stream.get_executor(), beast::bind_front_handler(std::forward<Handler>(handler), Failure{}));
}

asio::ssl::context& tls_context() {
  static asio::ssl::context context = [] {
    asio::ssl::context made(asio::ssl::context::tls_client);
    made.set_default_verify_paths();
    return made;
  }();
  return context;
}

class Connection final : public WebSocket {
public:
  Connection(EventLoop& loop, const ServerAddress& server, std::string path, std::string protocol)
      : loop_(loop),
        resolver_(loop.context()),
        socket_(loop.context()),
        server_(server),
        path_(std::move(path)),
        protocol_(std::move(protocol)) {}

  void open(std::function<void(Result<void>)> opened) override {
    opened_ = std::move(opened);
    const auto address = parse_listen_address(std::string_view(server_.url).substr(server_.url.find("://") + 3));
    if (!address) return finish_open({}, "it is no address");
    host_ = address->host;
    resolver_.async_resolve(host_, std::to_string(address->port), tcp::resolver::numeric_service,
                            [this, self = shared_from_this()](Failure failure, const auto& found) {
                              if (failure) return finish_open(failure);
                              connect(found);
                            });
  }

  void read(std::function<void(Received)> received) override {
    if (closed_) return asio::post(socket_.get_executor(), [received, close = *closed_] { received(close); });
    received_ = std::move(received);
    socket_.async_read_some(buffer_, kPiece, [this, self = shared_from_this()](Failure failure, std::size_t) {
      if (failure) return end(failure);
      SocketMessage message{.text = socket_.got_text(), .bytes = beast::buffers_to_string(buffer_.data())};
      buffer_.consume(buffer_.size());
      auto handler = std::exchange(received_, nullptr);
      handler(std::move(message));
    });
  }

  void send(SocketMessage message, std::function<void()> sent) override {
    if (closed_ || closing_) return;
    unsent_.push_back({std::move(message), std::move(sent)});
    if (unsent_.size() == 1) write();
  }

  void close() override {
    if (closed_ || std::exchange(closing_, true)) return;
    if (unsent_.empty()) say_goodbye();
  }

  void drop() override {
    closing_ = true;
    transport().close();
  }

private:
  struct Outgoing {
    SocketMessage message;
    std::function<void()> sent;
  };

  ServerStream& transport() { return socket_.next_layer(); }

  void connect(const tcp::resolver::results_type& found) {
    asio::async_connect(transport().socket(), found,
                        [this, self = shared_from_this()](Failure refused, const tcp::endpoint&) {
                          connected_ = true;
                          if (refused == asio::error::operation_aborted) return finish_open({}, "it does not answer");
                          refused ? finish_open(refused) : secure();
                        });
    loop_.after(kConnectPatience, [this, self = weak_from_this()] {
      if (const auto there = self.lock(); there && !connected_) transport().close();
    });
  }

  void secure() {
    watch_connection(transport().socket());
    if (!server_.url.starts_with("https://")) return shake_hands();
    auto& tls = transport().secured(tls_context());
    SSL_set_tlsext_host_name(tls.native_handle(), host_.c_str());
    tls.set_verify_mode(asio::ssl::verify_peer);
    tls.set_verify_callback(asio::ssl::host_name_verification(host_));
    tls.async_handshake(asio::ssl::stream_base::client, [this, self = shared_from_this()](Failure failure) {
      failure ? finish_open(failure) : shake_hands();
    });
  }

  void shake_hands() {
    socket_.set_option(websocket::stream_base::timeout{kHandshakePatience, websocket::stream_base::none(), false});
    socket_.set_option(websocket::stream_base::decorator([this](websocket::request_type& request) {
      request.set(http::field::user_agent, "nanobox");
      if (!server_.key.empty()) request.set(http::field::authorization, "Bearer " + server_.key);
      if (!protocol_.empty()) request.set(http::field::sec_websocket_protocol, protocol_);
    }));
    socket_.read_message_max(0);
    socket_.auto_fragment(false);
    const auto host = server_.url.substr(server_.url.find("://") + 3);
    socket_.async_handshake(answer_, host, path_, [this, self = shared_from_this()](Failure failure) {
      if (failure == websocket::error::upgrade_declined) return refuse();
      finish_open(failure);
    });
  }

  /// The server answered with something else than an upgrade.
  void refuse() {
    const ApiAnswer answer{.status = static_cast<long>(answer_.result_int()),
                           .content_type = "",
                           .request_id = "",
                           .headers = {},
                           .body = answer_.body()};
    auto handler = std::exchange(opened_, nullptr);
    handler(fail(error_of(answer, {.method = "GET", .path = path_.substr(0, path_.find('?'))})));
  }

  void finish_open(Failure failure, std::string reason = "") {
    auto handler = std::exchange(opened_, nullptr);
    if (!failure && reason.empty()) return handler({});
    handler(fail(
        {.code = ErrorCode::io_failed,
         .attempted = "connect to the server at",
         .subject = server_.url,
         .reason = failure ? failure.message() : reason,
         .mend = failure == asio::error::connection_refused ? "start nanoboxd, or name another one with --server" : "",
         .transient = true}));
  }

  void write() {
    const auto& message = unsent_.front().message;
    socket_.text(message.text);
    socket_.async_write(asio::buffer(message.bytes), [this, self = shared_from_this()](Failure failure, std::size_t) {
      // The reader learns of the end, and why.
      if (failure) return unsent_.clear();
      auto sent = std::move(unsent_.front().sent);
      unsent_.pop_front();
      if (!unsent_.empty())
        write();
      else if (closing_)
        say_goodbye();
      if (sent) sent();
    });
  }

  void say_goodbye() {
    socket_.async_close(websocket::close_code::normal, [self = shared_from_this()](Failure) {});
  }

  void end(Failure failure) {
    SocketClose close{.code = SocketClose::kLost, .reason = failure.message()};
    // A goodbye counts, also where the other side does not wait for ours.
    if (socket_.reason().code != websocket::close_code::none) {
      close.code = socket_.reason().code;
      close.reason = std::string(socket_.reason().reason.data(), socket_.reason().reason.size());
    }
    closed_ = close;
    if (auto handler = std::exchange(received_, nullptr)) handler(close);
  }

  EventLoop& loop_;
  tcp::resolver resolver_;
  websocket::stream<ServerStream, false> socket_;
  bool connected_ = false;  ///< or it failed
  ServerAddress server_;
  std::string path_;
  std::string protocol_;
  std::string host_;
  http::response<http::string_body> answer_;
  beast::flat_buffer buffer_;
  std::deque<Outgoing> unsent_;
  std::optional<SocketClose> closed_;
  bool closing_ = false;
  std::function<void(Result<void>)> opened_;
  std::function<void(Received)> received_;
};

}  // namespace

std::shared_ptr<WebSocket> WebSocket::make(EventLoop& loop, const ServerAddress& server, std::string path,
                                           std::string protocol) {
  return std::make_shared<Connection>(loop, server, std::move(path), std::move(protocol));
}

}  // namespace nanobox::cli
