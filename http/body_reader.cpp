#include "http/body_reader.hpp"

#include "http/transport/exchange.hpp"
#include "http/transport/input_pipe.hpp"

namespace nanobox::http {

BodyReader::BodyReader(std::shared_ptr<transport::Exchange> exchange, std::shared_ptr<transport::InputPipe> pipe,
                       std::optional<std::uint64_t> length)
    : exchange_(std::move(exchange)), pipe_(std::move(pipe)), length_(length) {}

BodyReader& BodyReader::operator=(BodyReader&& other) noexcept {
  if (this != &other) {
    if (pipe_) pipe_->abandon();
    exchange_ = std::move(other.exchange_);
    pipe_ = std::move(other.pipe_);
    length_ = other.length_;
  }
  return *this;
}

BodyReader::~BodyReader() {
  if (pipe_) pipe_->abandon();
}

void BodyReader::start(OnData on_data, OnEnd on_end) {
  if (!pipe_) return;
  exchange_->request_body();
  pipe_->start(std::move(on_data), std::move(on_end));
  exchange_->nudge();
}

void BodyReader::consumed(std::size_t bytes) {
  if (pipe_ && pipe_->consumed(bytes)) exchange_->nudge();
}

}  // namespace nanobox::http
