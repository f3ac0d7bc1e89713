#pragma once

#include <optional>

#include "http/raw_connection.hpp"
#include "http/resources/pace.hpp"
#include "http/websocket.hpp"

namespace nanobox::http {

/// A connection taken over from HTTP and a guest's stream, each fed at the other's pace.
class RawRelay {
public:
  /// @param quit  called once, when both are over
  RawRelay(GuestStream guest, GuestClient::Post post, std::function<void()> quit);
  void start(RawConnection connection);
  void from_guest(std::string_view bytes, std::size_t credit);
  /// The guest sends no more.
  void guest_ended();
  void on_window(const StdinWindow& window);

private:
  const GuestStream guest_;
  const GuestClient::Post post_;
  const std::function<void()> quit_;
  std::optional<RawConnection> connection_;
  OutputPace output_;
  InputPace input_;
};

/// A WebSocket whose binary messages are the bytes of a guest's stream. It is accepted once the stream is open: until
/// then a failure is an ordinary answer.
class SocketClient : public GuestClient {
public:
  SocketClient(WebSocketHandshake handshake, Responder responder);
  void on_opened(const Opened& opened) override;
  void on_data(StreamData& data) override;
  void on_window(const StdinWindow& window) override;
  void on_exit(const StreamExit& exit) final;
  void on_failed(const Error& error) override;

protected:
  /// A text message. @returns false: it is none that is known here
  virtual bool on_text(const std::string& text) = 0;
  virtual void on_guest_ended() {}
  /// Closes the open socket with what the guest's exit says.
  virtual void close_after(const StreamExit& exit) = 0;
  void close(CloseCode code, std::string_view reason);

private:
  /// A guest that goes on before it has opened the stream breaks the protocol.
  void refuse_early();
  void on_message(MessageKind kind, const std::string& payload);

  WebSocketHandshake handshake_;
  std::optional<Responder> responder_;
  std::optional<WebSocket> socket_;
  std::optional<OutputPace> output_;
  InputPace input_;
};

/// A TCP connection inside of the guest.
class TcpSocket final : public SocketClient {
public:
  using SocketClient::SocketClient;

private:
  void close_after(const StreamExit& exit) override;
  bool on_text(const std::string& text) override;
  void on_guest_ended() override;
};

/// A command on a terminal.
class TerminalSocket final : public SocketClient {
public:
  using SocketClient::SocketClient;

private:
  void close_after(const StreamExit& exit) override;
  bool on_text(const std::string& text) override;
};

}  // namespace nanobox::http
