#include "http/resources/socket_client.hpp"

#include "http/json/document.hpp"
#include "http/json/reader.hpp"
#include "pipeline/boot/exec.hpp"

namespace nanobox::http {

RawRelay::RawRelay(GuestStream guest, GuestClient::Post post, std::function<void()> quit)
    : guest_(std::move(guest)), post_(std::move(post)), quit_(std::move(quit)) {}

void RawRelay::start(RawConnection connection, std::uint64_t written) {
  written_ = consumed_ = written;
  connection_.emplace(std::move(connection));
  connection_->on_disconnect([this, post = post_] { post([this] { quit_(); }); });
  connection_->start(
      [this, post = post_](std::string bytes) {
        post([this, bytes = std::move(bytes)] {
          written_ += bytes.size();
          guest_.write(bytes, false);
        });
      },
      [this, post = post_](Result<void> end) {
        post([this, whole = end.has_value()] { whole ? guest_.write("", true) : quit_(); });
      });
}

void RawRelay::from_guest(std::string_view bytes, std::size_t credit) {
  owed_ += credit;
  const bool room = bytes.empty() || connection_->write(bytes);
  if (!writable_) return;
  if (room) return guest_.grant(std::exchange(owed_, 0));
  writable_ = false;
  connection_->on_writable([this, post = post_] {
    post([this] {
      writable_ = true;
      guest_.grant(std::exchange(owed_, 0));
    });
  });
}

void RawRelay::guest_ended() {
  connection_->end();
}

void RawRelay::on_window(std::uint64_t gone) {
  if (gone > consumed_) connection_->consumed(gone - std::exchange(consumed_, gone));
}

SocketClient::SocketClient(WebSocketHandshake handshake, Responder responder)
    : handshake_(std::move(handshake)), responder_(std::move(responder)) {}

void SocketClient::on_opened(const Opened&) {
  socket_.emplace(WebSocket::accept(std::move(handshake_), std::move(*responder_)));
  responder_.reset();
  socket_->on_drain([this, post = post()] { post([this] { close(CloseCode::going_away, "the server stops"); }); });
  socket_->start({.on_message =
                      [this, post = post()](MessageKind kind, std::string payload) {
                        post([this, kind, payload = std::move(payload)] { on_message(kind, payload); });
                      },
                  .on_close = [this, post = post()](std::uint16_t, std::string) { post([this] { quit(); }); }});
}

void SocketClient::on_message(MessageKind kind, const std::string& payload) {
  if (kind == MessageKind::binary) {
    written_ += payload.size();
    return guest().write(payload, false);
  }
  socket_->consumed(payload.size());
  if (!on_text(payload)) close(CloseCode::unsupported_data, "this text message means nothing here");
}

void SocketClient::on_window(const StdinWindow& window) {
  const auto gone = written_ - window.queued;
  if (gone > consumed_) socket_->consumed(gone - std::exchange(consumed_, gone));
}

void SocketClient::on_data(StreamData& data) {
  owed_ += data.bytes.size();
  const bool room =
      data.bytes.empty() ||
      socket_->send(MessageKind::binary, {reinterpret_cast<const char*>(data.bytes.data()), data.bytes.size()});
  if (room && writable_) {
    grant(std::exchange(owed_, 0));
  } else if (writable_) {
    writable_ = false;
    socket_->on_writable([this, post = post()] {
      post([this] {
        writable_ = true;
        grant(std::exchange(owed_, 0));
      });
    });
  }
  if (data.last) on_guest_ended();
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

void TcpSocket::on_exit(const StreamExit&) {
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

void TerminalSocket::on_exit(const StreamExit& exit) {
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
