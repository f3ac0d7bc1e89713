#include <charconv>

#include "http/proxy/forwarded_request.hpp"
#include "http/proxy/response_parser.hpp"
#include "http/resources/api.hpp"
#include "http/resources/ask.hpp"
#include "http/resources/guest_client.hpp"
#include "http/resources/socket_client.hpp"

namespace nanobox::http {

namespace {

constexpr std::string_view kPort = "/api/v1/sandboxes/{id}/ports/{port}";
constexpr std::string_view kTcp = "/api/v1/sandboxes/{id}/tcp/{port}";

Result<std::uint16_t> read_port(const Request& request) {
  const auto text = request.param("port");
  std::uint16_t port = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (problem == std::errc{} && end == text.data() + text.size() && port != 0) return port;
  return fail({.code = ErrorCode::invalid_value,
               .attempted = "reach a port",
               .subject = std::string(text),
               .reason = "it is no port",
               .mend = "use 1 to 65535",
               .fields = {{"/port", "must be 1 to 65535"}}});
}

/// One request to a service in the guest, on a connection of its own, and the service's answer.
class ForwardedRequest final : public GuestClient {
public:
  ForwardedRequest(Request request, BodyReader body, Responder responder)
      : body_(std::move(body)),
        responder_(std::move(responder)),
        parser_(request.method == Method::head, !request.upgrade.empty()),
        chunked_(!body_.length().has_value()) {
    proxy::Forwarding forwarding{.prefix = prefix_of(request),
                                 .target = proxy::forwarded_target(request, request.param("rest")),
                                 .body_length = body_.length()};
    head_ = proxy::write_forwarded_head(request, forwarding);
  }

  void on_stream() override {
    responder_.on_disconnect([this, post = post()] { post([this] { quit(); }); });
  }

  void on_opened(const Opened&) override {
    write(std::exchange(head_, {}));
    body_.start(
        [this, post = post()](std::string bytes) {
          post([this, bytes = std::move(bytes)] {
            body_bytes_ += bytes.size();
            write(proxy::write_forwarded_body(bytes, chunked_));
          });
        },
        [this, post = post()](Result<void> whole) {
          post([this, whole = std::move(whole)] {
            if (!whole) return on_failed(whole.error());
            if (const auto end = proxy::forwarded_body_end(chunked_); !end.empty()) write(std::string(end));
          });
        });
  }

  void on_window(const StdinWindow& window) override {
    const auto gone = written_ - window.queued;
    if (raw_) return raw_->on_window(gone);
    // The head and the chunks' frames are small beside what may wait.
    const auto body_gone = std::min(gone, body_bytes_);
    if (body_gone > body_consumed_) body_.consumed(body_gone - std::exchange(body_consumed_, body_gone));
  }

  void on_data(StreamData& data) override {
    const std::string_view bytes(reinterpret_cast<const char*>(data.bytes.data()), data.bytes.size());
    if (raw_) {
      raw_->from_guest(bytes, data.bytes.size());
      if (data.last) raw_->guest_ended();
      return;
    }
    owed_ += data.bytes.size();
    parser_.append(bytes);
    if (data.last) parser_.end_of_input();
    take_answer();
  }

  void on_exit(const StreamExit&) override {
    if (raw_) return raw_->guest_ended();
    parser_.end_of_input();
    take_answer();
    if (!ended_) quit();
  }

  void on_failed(const Error& error) override {
    if (!answer_ && !raw_) responder_.send_problem(error);
    quit();
  }

private:
  static std::string prefix_of(const Request& request) {
    const auto end = request.path.find("/ports/");
    const auto slash = request.path.find('/', end + std::string_view("/ports/").size());
    return request.path.substr(0, slash);
  }

  void write(std::string bytes) {
    written_ += bytes.size();
    guest().write(std::move(bytes), false);
  }

  void take_answer() {
    using Event = proxy::ResponseParser::Event;
    while (!ended_) {
      switch (parser_.next()) {
        case Event::need_more:
          if (answer_ == std::nullopt)
            grant(std::exchange(owed_, 0));
          else if (owed_ > 0)
            answer_->write({}, std::exchange(owed_, 0));
          return;
        case Event::head:
          begin();
          break;
        case Event::body:
          answer_->write(parser_.take_body(), std::exchange(owed_, 0));
          break;
        case Event::complete:
          ended_ = true;
          answer_->end();
          return quit();
        case Event::upgraded: {
          ended_ = true;
          const auto rest = parser_.take_rest();
          raw_.emplace(guest(), post(), [this] { quit(); });
          raw_->start(responder_.upgrade(parser_.answer().upgrade, parser_.answer().headers), written_);
          raw_->from_guest(rest, std::exchange(owed_, 0));
          return;
        }
        case Event::refused:
          ended_ = true;
          return on_failed(parser_.error());
      }
    }
  }

  void begin() {
    auto stream = responder_.begin_stream(proxy::stream_head_of(parser_.answer()));
    stream.on_disconnect([this, post = post()] { post([this] { quit(); }); });
    answer_.emplace(std::move(stream), post(), [this](std::size_t bytes) { grant(bytes); });
  }

  BodyReader body_;
  Responder responder_;
  proxy::ResponseParser parser_;
  const bool chunked_;
  std::string head_;
  std::optional<PacedAnswer> answer_;
  std::optional<RawRelay> raw_;
  std::uint64_t written_ = 0;
  std::uint64_t body_bytes_ = 0;
  std::uint64_t body_consumed_ = 0;
  std::size_t owed_ = 0;
  bool ended_ = false;
};

void forward(Api& api, Request request, BodyReader body, Responder responder) {
  const auto sandbox = running_sandbox_of(api, request);
  if (!sandbox) return responder.send_problem(sandbox.error());
  const auto port = read_port(request);
  if (!port) return responder.send_problem(port.error());
  start_guest_client(api, (*sandbox)->id, TcpRequest{.port = *port},
                     std::make_unique<ForwardedRequest>(std::move(request), std::move(body), std::move(responder)));
}

}  // namespace

void add_port_routes(Router& router, Api& api) {
  const RouteOptions options{.max_body_bytes = unlimited, .body_may_pause = true, .forwards = true};
  for (const auto method :
       {Method::get, Method::head, Method::post, Method::put, Method::patch, Method::del, Method::options})
    for (const std::string_view rest : {"", "/{rest...}"})
      router.add_streaming(
          method, std::string(kPort) + std::string(rest),
          [&api](Request request, BodyReader body, Responder responder) {
            forward(api, std::move(request), std::move(body), std::move(responder));
          },
          options);
  router.add(Method::get, kTcp, [&api](Request request, Responder responder) {
    const auto sandbox = running_sandbox_of(api, request);
    if (!sandbox) return responder.send_problem(sandbox.error());
    const auto port = read_port(request);
    if (!port) return responder.send_problem(port.error());
    auto handshake = read_websocket_handshake(request, responder);
    if (!handshake) return;
    start_guest_client(api, (*sandbox)->id, TcpRequest{.port = *port},
                       std::make_unique<TcpSocket>(std::move(*handshake), std::move(responder)));
  });
}

}  // namespace nanobox::http
