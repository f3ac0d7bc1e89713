#include "config/whole_number.hpp"
#include "http/proxy/forwarded_request.hpp"
#include "http/proxy/response_parser.hpp"
#include "http/resources/api.hpp"
#include "http/resources/ask.hpp"
#include "http/resources/guest_answer.hpp"
#include "http/resources/socket_client.hpp"

namespace nanobox::http {

namespace {

constexpr std::string_view kPort = "/api/v1/sandboxes/{id}/ports/{port}";
constexpr std::string_view kTcp = "/api/v1/sandboxes/{id}/tcp/{port}";

Result<std::uint16_t> read_port(const Request& request) {
  const auto text = request.param("port");
  if (const auto port = whole_number<std::uint16_t>(text); port && *port != 0) return *port;
  return fail(invalid_parameter("reach a port", "/port", "'" + std::string(text) + "' is no port", "use 1 to 65535"));
}

/// One request to a service in the guest, on a connection of its own, and the service's answer.
class ForwardedRequest final : public StreamedAnswer {
public:
  ForwardedRequest(const Request& request, BodyReader body, Responder responder)
      : StreamedAnswer(std::move(responder)),
        body_(std::move(body)),
        parser_(request.method == Method::head, !request.upgrade.empty()),
        chunked_(!body_.length().has_value()) {
    proxy::Forwarding forwarding{.prefix = prefix_of(request),
                                 .target = proxy::forwarded_target(request, request.param("rest")),
                                 .body_length = body_.length()};
    head_ = proxy::write_forwarded_head(request, forwarding);
  }

  void on_stream() override {
    responder().on_disconnect([this, post = post()] { post([this] { quit(); }); });
  }

  void on_opened(const Opened&) override {
    guest().write(std::exchange(head_, {}), false);
    body_.start(
        [this, post = post()](std::string bytes) {
          post([this, bytes = std::move(bytes)] {
            input_.wrote(bytes.size());
            guest().write(proxy::write_forwarded_body(bytes, chunked_), false);
          });
        },
        [this, post = post()](Result<void> whole) {
          post([this, whole = std::move(whole)] {
            if (!whole) return on_failed(whole.error());
            if (const auto end = proxy::forwarded_body_end(chunked_); !end.empty())
              guest().write(std::string(end), false);
          });
        });
  }

  void on_window(const StdinWindow& window) override {
    if (raw_) return raw_->on_window(window);
    // The head and the chunks' frames are small beside what may wait.
    input_.on_window(window, body_);
  }

  void on_data(StreamData& data) override {
    const auto bytes = data.text();
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
    if (raw_) return quit();
    StreamedAnswer::on_failed(error);
  }

private:
  static std::string prefix_of(const Request& request) {
    const auto end = request.path.find("/ports/");
    const auto slash = request.path.find('/', end + std::string_view("/ports/").size());
    return request.path.substr(0, slash);
  }

  void take_answer() {
    using Event = proxy::ResponseParser::Event;
    while (!ended_) {
      switch (parser_.next()) {
        case Event::need_more:
          if (!has_begun())
            grant(std::exchange(owed_, 0));
          else if (owed_ > 0)
            write({}, std::exchange(owed_, 0));
          return;
        case Event::head:
          begin(proxy::stream_head_of(parser_.answer()));
          break;
        case Event::body:
          write(parser_.take_body(), std::exchange(owed_, 0));
          break;
        case Event::complete:
          ended_ = true;
          return end();
        case Event::upgraded: {
          ended_ = true;
          const auto rest = parser_.take_rest();
          raw_.emplace(guest(), post(), [this] { quit(); });
          raw_->start(responder().upgrade(parser_.answer().upgrade, parser_.answer().headers));
          raw_->from_guest(rest, std::exchange(owed_, 0));
          return;
        }
        case Event::refused:
          ended_ = true;
          return on_failed(parser_.error());
      }
    }
  }

  BodyReader body_;
  proxy::ResponseParser parser_;
  const bool chunked_;
  std::string head_;
  std::optional<RawRelay> raw_;
  InputPace input_;
  std::size_t owed_ = 0;
  bool ended_ = false;
};

void forward(Api& api, const Request& request, BodyReader body, Responder responder) {
  const auto sandbox = running_sandbox_of(api, request);
  if (!sandbox) return responder.send_problem(sandbox.error());
  const auto port = read_port(request);
  if (!port) return responder.send_problem(port.error());
  responder.note("port", std::to_string(*port));
  start_guest_client(api, (*sandbox)->id, TcpRequest{.port = *port},
                     std::make_unique<ForwardedRequest>(request, std::move(body), std::move(responder)));
}

}  // namespace

void add_port_routes(Router& router, Api& api) {
  const RouteOptions options{.max_body_bytes = unlimited, .body_may_pause = true, .forwards = true};
  for (const auto method :
       {Method::get, Method::head, Method::post, Method::put, Method::patch, Method::del, Method::options})
    for (const std::string_view rest : {"", "/{rest...}"})
      router.add_streaming(
          method, std::string(kPort) + std::string(rest),
          [&api](const Request& request, BodyReader body, Responder responder) {
            forward(api, request, std::move(body), std::move(responder));
          },
          options);
  router.add(Method::get, kTcp, [&api](const Request& request, Responder responder) {
    const auto sandbox = running_sandbox_of(api, request);
    if (!sandbox) return responder.send_problem(sandbox.error());
    const auto port = read_port(request);
    if (!port) return responder.send_problem(port.error());
    responder.note("port", std::to_string(*port));
    auto handshake = read_websocket_handshake(request, responder);
    if (!handshake) return;
    start_guest_client(api, (*sandbox)->id, TcpRequest{.port = *port},
                       std::make_unique<TcpSocket>(std::move(*handshake), std::move(responder)));
  });
}

}  // namespace nanobox::http
