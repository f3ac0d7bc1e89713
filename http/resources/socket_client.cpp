#include "http/resources/socket_client.hpp"

#include "http/json/document.hpp"
#include "http/json/reader.hpp"
#include "pipeline/boot/exec.hpp"

namespace nanobox::http {

RawRelay::RawRelay(GuestStream guest, GuestClient::Post post, std::function<void()> quit)
    : guest_(std::move(guest)),
      post_(std::move(post)),
      quit_(std::move(quit)),
      output_(post_, [this](std::size_t bytes) { guest_.grant(bytes); }) {}

void RawRelay::start(RawConnection connection) {
  connection_.emplace(std::move(connection));
  connection_->on_disconnect([this, post = post_] { post([this] { quit_(); }); });
  connection_->start(
      [this, post = post_](std::string bytes) {
        post([this, bytes = std::move(bytes)] {
          input_.wrote(bytes.size());
          guest_.write(bytes, false);
        });
      },
      [this, post = post_](const Result<void>& end) {
        post([this, whole = end.has_value()] { whole ? guest_.write("", true) : quit_(); });
      });
}

void RawRelay::from_guest(std::string_view bytes, std::size_t credit) {
  output_.wrote(*connection_, bytes.empty() || connection_->write(bytes), credit);
}

void RawRelay::guest_ended() {
  connection_->end();
}

void RawRelay::on_window(const StdinWindow& window) {
  input_.on_window(window, *connection_);
}

SocketClient::SocketClient(WebSocketHandshake handshake, Responder responder)
    : handshake_(std::move(handshake)), responder_(std::move(responder)) {}

void SocketClient::on_opened(const Opened&) {
  socket_.emplace(WebSocket::accept(std::move(handshake_), std::move(*responder_)));
  responder_.reset();
  output_.emplace(post(), [this](std::size_t bytes) { grant(bytes); });
  socket_->on_drain([this, post = post()] { post([this] { close(CloseCode::going_away, "the server stops"); }); });
  socket_->start({.on_message =
                      [this, post = post()](MessageKind kind, std::string payload) {
                        post([this, kind, payload = std::move(payload)] { on_message(kind, payload); });
                      },
                  .on_close = [this, post = post()](std::uint16_t, const std::string&) { post([this] { quit(); }); }});
}

void SocketClient::on_message(MessageKind kind, const std::string& payload) {
  if (kind == MessageKind::binary) {
    input_.wrote(payload.size());
    return guest().write(payload, false);
  }
  socket_->consumed(payload.size());
  if (!on_text(payload)) close(CloseCode::unsupported_data, "this text message means nothing here");
}

void SocketClient::on_window(const StdinWindow& window) {
  if (socket_) input_.on_window(window, *socket_);
}

void SocketClient::on_data(StreamData& data) {
  if (!socket_) return refuse_early();
  const bool room = data.bytes.empty() || socket_->send(MessageKind::binary, data.text());
  output_->wrote(*socket_, room, data.bytes.size());
  if (data.last) on_guest_ended();
}

void SocketClient::on_exit(const StreamExit& exit) {
  if (!socket_) return refuse_early();
  close_after(exit);
}

void SocketClient::refuse_early() {
  on_failed({.code = ErrorCode::guest_protocol,
             .attempted = "open a stream in the guest",
             .subject = "",
             .reason = "the guest answered before it had opened it",
             .mend = "delete the sandbox: its init does not keep to the protocol"});
}

void SocketClient::on_failed(const Error& error) {
  if (socket_) return close(CloseCode::internal_error, error.reason);
  responder_->send_problem(error);
  quit();
}

void SocketClient::close(CloseCode code, std::string_view reason) {
  // The client's answer comes as on_close, which ends the actor.
  socket_->close(code, reason);
}

void TcpSocket::close_after(const StreamExit&) {
  close(CloseCode::normal, {});
}

void TcpSocket::on_guest_ended() {
  close(CloseCode::normal, {});
}

bool TcpSocket::on_text(const std::string& text) {
  const auto document = json::parse(text);
  if (!document || !document->IsObject()) return false;
  json::Complaints complaints;
  json::ObjectReader message(*document, complaints);
  const bool end = message.boolean("end").value_or(false);
  message.finish();
  if (!complaints.result() || !end) return false;
  guest().write("", true);
  return true;
}

void TerminalSocket::close_after(const StreamExit& exit) {
  const auto end = command_end(exit.exit_code, exit.signal, exit.timed_out);
  close(CloseCode::normal, "exit " + std::to_string(end.exit_code));
}

bool TerminalSocket::on_text(const std::string& text) {
  const auto document = json::parse(text);
  if (!document || !document->IsObject()) return false;
  json::Complaints complaints;
  json::ObjectReader message(*document, complaints);
  TerminalSize size;
  bool resized = false;
  message.object("resize", [&](json::ObjectReader& resize) {
    size.columns = static_cast<std::uint16_t>(resize.integer("cols", 1, 10'000).value_or(80));
    size.rows = static_cast<std::uint16_t>(resize.integer("rows", 1, 10'000).value_or(24));
    resized = true;
  });
  message.finish();
  if (!complaints.result() || !resized) return false;
  guest().resize(size);
  return true;
}

}  // namespace nanobox::http
