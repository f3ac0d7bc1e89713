#include "http/responder.hpp"

#include "http/problem.hpp"
#include "http/transport/exchange.hpp"
#include "http/transport/output_queue.hpp"

namespace nanobox::http {

Stream::Stream(std::shared_ptr<transport::Exchange> exchange) : exchange_(std::move(exchange)) {}

Stream& Stream::operator=(Stream&& other) noexcept {
  if (this != &other) {
    if (exchange_) exchange_->stream_abort();
    exchange_ = std::move(other.exchange_);
  }
  return *this;
}

Stream::~Stream() {
  if (exchange_) exchange_->stream_abort();
}

bool Stream::write(std::string_view bytes) {
  return !exchange_ || exchange_->stream_write(bytes);
}
void Stream::note(std::string key, std::string value) {
  if (exchange_) exchange_->note(std::move(key), std::move(value));
}
std::size_t Stream::outstanding() const {
  return exchange_ ? exchange_->outstanding() : 0;
}
bool Stream::connected() const {
  return exchange_ && exchange_->connected();
}

void Stream::on_writable(std::function<void()> callback) {
  if (exchange_) exchange_->on_writable(std::move(callback));
}

void Stream::on_disconnect(std::function<void()> callback) {
  if (exchange_) exchange_->on_disconnect(std::move(callback));
}

void Stream::end() {
  if (const auto exchange = std::move(exchange_)) exchange->stream_end();
}

Responder::Responder(std::shared_ptr<transport::Exchange> exchange) : exchange_(std::move(exchange)) {}

namespace {

void answer_for_the_forgetful(transport::Exchange& exchange) {
  const Error error{.code = ErrorCode::internal,
                    .attempted = "serve request",
                    .subject = {},
                    .reason = "the server lost this request",
                    .mend = "see the server's log for this request_id"};
  if (exchange.answered()) return;
  exchange.note("code", std::string(to_string(error.code)));
  exchange.send(http_status(error.code).code, "application/problem+json",
                problem_json(error, exchange.instance(), exchange.request_id()), problem_headers(error));
}

}  // namespace

Responder& Responder::operator=(Responder&& other) noexcept {
  if (this != &other) {
    if (exchange_) answer_for_the_forgetful(*exchange_);
    exchange_ = std::move(other.exchange_);
  }
  return *this;
}

Responder::~Responder() {
  if (exchange_) answer_for_the_forgetful(*exchange_);
}

void Responder::send(int status, std::string json, Headers headers) {
  send_bytes(status, "application/json", std::move(json), std::move(headers));
}

void Responder::send_bytes(int status, std::string_view content_type, std::string body, Headers headers) {
  if (exchange_) exchange_->send(status, content_type, std::move(body), headers);
}

void Responder::send_problem(const Error& error, Headers headers) {
  send_problem(http_status(error.code).code, error, std::move(headers));
}

void Responder::send_problem(int status, const Error& error, Headers headers) {
  if (!exchange_) return;
  for (auto& header : problem_headers(error)) headers.push_back(std::move(header));
  exchange_->note("code", std::string(to_string(error.code)));
  exchange_->note("detail", describe(error));
  exchange_->send(status, "application/problem+json",
                  problem_json(status, error, exchange_->instance(), exchange_->request_id()), headers);
}

Stream Responder::begin_stream(std::string_view content_type, Headers headers) {
  return begin_stream(StreamHead{.content_type = std::string(content_type), .headers = std::move(headers)});
}

Stream Responder::begin_stream(StreamHead head) {
  auto exchange = std::move(exchange_);
  if (exchange && !exchange->begin_stream(head)) exchange.reset();
  return Stream(std::move(exchange));
}

RawConnection Responder::upgrade(std::string_view protocol, Headers headers) {
  const auto exchange = std::move(exchange_);
  auto pipe = exchange ? exchange->upgrade(protocol, headers) : nullptr;
  if (pipe) return {exchange, std::move(pipe)};
  if (exchange)
    Responder(exchange).send_problem({.code = ErrorCode::malformed_request,
                                      .attempted = "switch protocols",
                                      .subject = {},
                                      .reason = "only an HTTP/1.1 request without a body can be followed by another "
                                                "protocol",
                                      .mend = "send it without a body"});
  return {nullptr, nullptr};
}

void Responder::on_disconnect(std::function<void()> callback) {
  if (exchange_) exchange_->on_disconnect(std::move(callback));
}

bool Responder::connected() const {
  return exchange_ && exchange_->connected();
}
bool Responder::answered() const {
  return !exchange_ || exchange_->answered();
}

void Responder::note(std::string key, std::string value) {
  if (exchange_) exchange_->note(std::move(key), std::move(value));
}

namespace {
const std::string nothing;
}

const std::string& Responder::request_id() const {
  return exchange_ ? exchange_->request_id() : nothing;
}
const std::string& Responder::instance() const {
  return exchange_ ? exchange_->instance() : nothing;
}

void Responder::observe(Observer observer) {
  if (exchange_) exchange_->observe(std::move(observer));
}

}  // namespace nanobox::http
