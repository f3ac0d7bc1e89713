#include "http/raw_connection.hpp"

#include "http/transport/exchange.hpp"
#include "http/transport/input_pipe.hpp"

namespace nanobox::http {

RawConnection::RawConnection(std::shared_ptr<transport::Exchange> exchange, std::shared_ptr<transport::InputPipe> pipe)
    : exchange_(std::move(exchange)), pipe_(std::move(pipe)) {}

RawConnection& RawConnection::operator=(RawConnection&& other) noexcept {
  if (this != &other) {
    RawConnection before(std::move(*this));
    exchange_ = std::move(other.exchange_);
    pipe_ = std::move(other.pipe_);
  }
  return *this;
}

RawConnection::~RawConnection() {
  if (pipe_) pipe_->abandon();
  if (exchange_) exchange_->raw_release();
}

void RawConnection::start(OnData on_data, OnEnd on_end) {
  if (!pipe_) {
    if (on_end)
      on_end(fail({.code = ErrorCode::cancelled,
                   .attempted = "read from the client",
                   .subject = {},
                   .reason = "the connection is over",
                   .mend = {}}));
    return;
  }
  pipe_->start(std::move(on_data), std::move(on_end));
  exchange_->nudge();
}

void RawConnection::consumed(std::size_t bytes) {
  if (pipe_ && pipe_->consumed(bytes)) exchange_->nudge();
}

bool RawConnection::write(std::string_view bytes) {
  return !exchange_ || exchange_->stream_write(bytes);
}
std::size_t RawConnection::outstanding() const {
  return exchange_ ? exchange_->outstanding() : 0;
}
void RawConnection::on_writable(std::function<void()> callback) {
  if (exchange_) exchange_->on_writable(std::move(callback));
}

void RawConnection::end() {
  if (exchange_) exchange_->raw_end();
}
void RawConnection::abort() {
  if (exchange_) exchange_->raw_abort();
}
bool RawConnection::connected() const {
  return exchange_ && exchange_->connected();
}

void RawConnection::on_disconnect(std::function<void()> callback) {
  if (exchange_)
    exchange_->on_disconnect(std::move(callback));
  else if (callback)
    callback();
}

void RawConnection::on_drain(std::function<void()> callback) {
  if (exchange_) exchange_->on_drain(std::move(callback));
}
void RawConnection::on_tick(std::function<void(std::chrono::steady_clock::time_point)> callback) {
  if (exchange_) exchange_->on_tick(std::move(callback));
}

}  // namespace nanobox::http
