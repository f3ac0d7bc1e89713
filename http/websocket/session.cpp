#include <algorithm>
#include <mutex>
#include <utility>

#include "http/websocket/frames.hpp"

namespace nanobox::http {

using websocket::FrameReader;
using websocket::Opcode;
using Instant = std::chrono::steady_clock::time_point;

namespace {

// Undigested payload at which reading pauses.
constexpr std::size_t credit = BodyReader::credit;

}  // namespace

struct WebSocket::Session : std::enable_shared_from_this<Session> {
  using Lock = std::unique_lock<std::mutex>;

  explicit Session(WebSocketOptions asked) : options(std::move(asked)), reader(options.max_message_bytes) {}

  const WebSocketOptions options;
  FrameReader reader;  // for the worker only

  std::mutex mutex;
  std::shared_ptr<RawConnection> raw;  // until it is over
  std::shared_ptr<const Handlers> handlers;
  bool started = false;
  bool close_sent = false;
  std::uint16_t sent_code = static_cast<std::uint16_t>(CloseCode::abnormal);
  std::string sent_reason;
  std::size_t undigested = 0;
  std::size_t withheld = 0;  // bytes of the connection for which no credit was given
  Instant heard_at = std::chrono::steady_clock::now();
  Instant pinged_at = heard_at;
  Instant close_sent_at{};

  void start(Handlers given) {
    std::shared_ptr<RawConnection> connection;
    {
      const Lock lock(mutex);
      if (std::exchange(started, true)) return;
      handlers = std::make_shared<const Handlers>(std::move(given));
      heard_at = pinged_at = std::chrono::steady_clock::now();
      connection = raw;
    }
    if (!connection) return;
    connection->start([self = shared_from_this()](std::string bytes) { self->on_bytes(bytes); },
                      [self = shared_from_this()](Result<void>) { self->on_end(); });
  }

  bool send(MessageKind kind, std::string_view payload) {
    const Lock lock(mutex);
    if (!raw || close_sent) return true;
    return raw->write(websocket::write_frame(kind == MessageKind::text ? Opcode::text : Opcode::binary, payload));
  }

  void close(std::uint16_t code, std::string_view reason) {
    {
      const Lock lock(mutex);
      send_close(code, reason);
    }
    start({});  // somebody must read the client's answer
  }

  void consumed(std::size_t bytes) {
    const Lock lock(mutex);
    undigested -= std::min(bytes, undigested);
    if (undigested <= credit / 2 && withheld > 0 && raw) raw->consumed(std::exchange(withheld, 0));
  }

  // With the lock.
  void send_close(std::uint16_t code, std::string_view reason) {
    if (!raw || std::exchange(close_sent, true)) return;
    sent_code = code;
    sent_reason = reason;
    close_sent_at = std::chrono::steady_clock::now();
    raw->write(websocket::write_close_frame(code, reason));
    // What is not read would hide the client's answer.
    if (withheld > 0) raw->consumed(std::exchange(withheld, 0));
  }

  void on_bytes(std::string_view bytes) {
    reader.append(bytes);
    Lock lock(mutex);
    heard_at = std::chrono::steady_clock::now();
    while (raw) {
      const auto event = reader.next();
      if (event == FrameReader::Event::need_more) break;
      switch (event) {
        case FrameReader::Event::message:
          hand_over(lock);
          break;
        case FrameReader::Event::ping:
          if (!close_sent) raw->write(websocket::write_frame(Opcode::pong, reader.take_payload()));
          break;
        case FrameReader::Event::close:
          send_close(reader.close_code(), {});
          return finish(lock, reader.close_code(), reader.close_reason());
        case FrameReader::Event::broken:
          send_close(reader.close_code(), reader.close_reason());
          return finish(lock, reader.close_code(), reader.close_reason());
        case FrameReader::Event::pong:
        case FrameReader::Event::need_more:
          break;
      }
    }
    if (!raw) return;
    if (undigested >= credit && !close_sent)
      withheld += bytes.size();
    else
      raw->consumed(bytes.size());
  }

  void hand_over(Lock& lock) {
    auto payload = reader.take_payload();
    const auto to = handlers;
    if (close_sent || !to || !to->on_message) return;
    undigested += payload.size();
    lock.unlock();
    to->on_message(reader.kind(), std::move(payload));
    lock.lock();
  }

  // The connection ends without a close of the client's.
  void on_end() {
    Lock lock(mutex);
    finish(lock, sent_code, sent_reason);
  }

  // Closes behind what was written and tells the end. (worker)
  void finish(Lock& lock, std::uint16_t code, std::string reason) {
    const auto connection = std::exchange(raw, nullptr);
    const auto to = std::exchange(handlers, nullptr);
    lock.unlock();
    if (connection) connection->end();
    if (to && to->on_close) to->on_close(code, std::move(reason));
  }

  void tick(Instant now) {
    const Lock lock(mutex);
    if (!raw) return;
    // Behind what has not left, or while nothing is read, nothing can be heard.
    const bool deaf = !started || withheld > 0 || raw->outstanding() > 0;
    if (deaf) heard_at = close_sent_at = now;
    if (close_sent) {
      if (now - close_sent_at > options.close_limit) raw->abort();
    } else if (now - heard_at > options.silence_limit) {
      raw->abort();
    } else if (now - std::max(heard_at, pinged_at) > options.ping_interval) {
      pinged_at = now;
      raw->write(websocket::write_frame(Opcode::ping, {}));
    }
  }
};

WebSocket::WebSocket(std::shared_ptr<Session> session) : session_(std::move(session)) {}

WebSocket WebSocket::accept(WebSocketHandshake handshake, Responder responder) {
  auto session = std::make_shared<Session>(std::move(handshake.options));
  Headers headers{{"Sec-WebSocket-Accept", std::move(handshake.accept)}};
  if (!handshake.protocol.empty()) headers.emplace_back("Sec-WebSocket-Protocol", std::move(handshake.protocol));
  session->raw = std::make_shared<RawConnection>(responder.upgrade("websocket", std::move(headers)));
  session->raw->on_tick([weak = std::weak_ptr(session)](Instant now) {
    if (const auto kept = weak.lock()) kept->tick(now);
  });
  return WebSocket(std::move(session));
}

WebSocket& WebSocket::operator=(WebSocket&& other) noexcept {
  if (this != &other) {
    if (session_) session_->close(static_cast<std::uint16_t>(CloseCode::internal_error), {});
    session_ = std::move(other.session_);
  }
  return *this;
}

WebSocket::~WebSocket() {
  if (session_) session_->close(static_cast<std::uint16_t>(CloseCode::internal_error), {});
}

void WebSocket::start(Handlers handlers) {
  if (session_) session_->start(std::move(handlers));
}
void WebSocket::consumed(std::size_t bytes) {
  if (session_) session_->consumed(bytes);
}
bool WebSocket::send(MessageKind kind, std::string_view payload) {
  return !session_ || session_->send(kind, payload);
}

std::size_t WebSocket::outstanding() const {
  if (!session_) return 0;
  const std::lock_guard lock(session_->mutex);
  return session_->raw ? session_->raw->outstanding() : 0;
}

void WebSocket::on_writable(std::function<void()> callback) {
  if (!session_) return;
  const std::lock_guard lock(session_->mutex);
  if (session_->raw) session_->raw->on_writable(std::move(callback));
}

void WebSocket::on_drain(std::function<void()> callback) {
  if (!session_) return;
  std::shared_ptr<RawConnection> raw;
  {
    const std::lock_guard lock(session_->mutex);
    raw = session_->raw;
  }
  if (raw) raw->on_drain(std::move(callback));
}

void WebSocket::close(CloseCode code, std::string_view reason) {
  close(static_cast<std::uint16_t>(code), reason);
}
void WebSocket::close(std::uint16_t code, std::string_view reason) {
  if (session_) session_->close(code, reason);
}

bool WebSocket::is_open() const {
  if (!session_) return false;
  const std::lock_guard lock(session_->mutex);
  return session_->raw && !session_->close_sent && session_->raw->connected();
}

}  // namespace nanobox::http
