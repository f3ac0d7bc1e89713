#include "http/transport/exchange.hpp"

#include <utility>

#include "http/sse.hpp"
#include "http/transport/connection.hpp"
#include "http/transport/output_queue.hpp"
#include "http/transport/response_head.hpp"

namespace nanobox::http::transport {
namespace {

// Beyond its credit a producer that does not listen may still hand over so much.
constexpr std::size_t overdraft = 1 << 20;

}  // namespace

Exchange::Exchange(std::shared_ptr<Connection> connection, Form form, Account account)
    : connection_(std::move(connection)), form_(std::move(form)), account_(std::move(account)) {}

Exchange::~Exchange() {
  tell();
}

void Exchange::note(std::string key, std::string value) {
  const std::lock_guard lock(mutex_);
  if (account_.sink) account_.request.notes.emplace_back(std::move(key), std::move(value));
}

void Exchange::tell() {
  ServedRequestSink sink;
  ServedRequest request;
  {
    const std::lock_guard lock(mutex_);
    sink = std::exchange(account_.sink, nullptr);
    if (!sink) return;
    request = std::move(account_.request);
  }
  request.duration =
      std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - account_.begun);
  sink(request);
}

void Exchange::send(int status, std::string_view content_type, std::string body, const Headers& headers) {
  Responder::Observer observer;
  std::function<void()> unused_disconnect;
  std::function<void()> unused_writable;
  {
    const std::lock_guard lock(mutex_);
    if (state_ != State::open) return;
    state_ = State::done;
    account_.request.status = status;
    observer = std::move(observer_);
    unused_disconnect = std::move(on_disconnect_);
    unused_writable = std::move(on_writable_);
  }
  if (observer) observer(status, content_type, body, connected());
  const bool bodiless = status == 204 || status == 304;
  const bool close = !form_.keep_alive || connection_->closes_after_answer();
  ResponseHead head{
      .status = status,
      .content_type = bodiless || (body.empty() && !form_.without_body) ? std::string_view() : content_type,
      .request_id = form_.request_id,
      .close = close,
      .says_keep_alive = form_.http_1_0};
  if (!bodiless) head.content_length = body.size();
  std::string bytes = write_head(head, headers);
  if (bodiless || form_.without_body) {
    connection_->finish(std::move(bytes), close);
  } else if (body.size() <= OutputQueue::piece / 2) {
    bytes += body;
    connection_->finish(std::move(bytes), close);
  } else {
    connection_->deliver(std::move(bytes));
    connection_->finish(std::move(body), close);
  }
  tell();
}

bool Exchange::begin_stream(const StreamHead& head) {
  Responder::Observer unused_observer;
  const bool bodiless = form_.without_body || head.status == 204 || head.status == 304;
  {
    const std::lock_guard lock(mutex_);
    if (state_ != State::open) return false;
    state_ = State::streaming;
    account_.request.status = head.status;
    account_.request.streamed = true;
    announced_left_ = bodiless ? std::optional<std::uint64_t>() : head.content_length;
    chunked_ = !form_.http_1_0 && !head.content_length && head.status != 204 && head.status != 304;
    unframed_ = form_.http_1_0 && !head.content_length && !bodiless;
    events_ = head.content_type == event_stream_type;
    unused_observer = std::move(observer_);
  }
  Headers all = head.headers;
  if (events_) all.emplace_back("Cache-Control", "no-store");
  const bool close = unframed_ || !form_.keep_alive || connection_->draining();
  connection_->deliver(
      write_head({.status = head.status,
                  .content_type = head.content_type,
                  .request_id = form_.request_id,
                  .content_length = head.status == 204 ? std::optional<std::uint64_t>() : head.content_length,
                  .chunked = chunked_,
                  .close = close,
                  .says_keep_alive = form_.http_1_0},
                 all));
  if (bodiless) stream_end();
  return true;
}

bool Exchange::stream_write(std::string_view bytes) {
  std::size_t held = 0;
  {
    const std::lock_guard lock(mutex_);
    if ((state_ != State::streaming && state_ != State::raw) || gone_ || raw_ended_) return true;
    if (announced_left_ && bytes.size() > *announced_left_) {
      connection_->cut();
      return true;
    }
    if (announced_left_) *announced_left_ -= bytes.size();
    if (!bytes.empty()) connection_->deliver(chunked_ ? write_chunk(bytes) : std::string(bytes));
    held = connection_->outstanding();
    if (held < OutputQueue::credit) return true;
    wants_credit_ = true;
  }
  if (held > OutputQueue::credit + overdraft + bytes.size()) connection_->cut();
  // The last piece may have left before the wish for credit was noted.
  else if (connection_->outstanding() < OutputQueue::credit)
    connection_->nudge();
  return false;
}

void Exchange::stream_end() {
  std::function<void()> unused_disconnect;
  std::function<void()> unused_writable;
  {
    const std::lock_guard lock(mutex_);
    if (state_ != State::streaming) return;
    state_ = State::done;
    unused_disconnect = std::move(on_disconnect_);
    unused_writable = std::move(on_writable_);
    if (announced_left_.value_or(0) > 0)
      connection_->cut();
    else
      connection_->finish(chunked_ && !form_.without_body ? "0\r\n\r\n" : "", unframed_ || !form_.keep_alive);
  }
  tell();
}

void Exchange::stream_abort() {
  std::function<void()> unused_disconnect;
  std::function<void()> unused_writable;
  {
    const std::lock_guard lock(mutex_);
    if (state_ != State::streaming) return;
    state_ = State::done;
    unused_disconnect = std::move(on_disconnect_);
    unused_writable = std::move(on_writable_);
  }
  connection_->cut();
  tell();
}

void Exchange::request_body() {
  const std::lock_guard lock(mutex_);
  if (state_ == State::open) connection_->send_continue();
}

void Exchange::nudge() {
  connection_->nudge();
}

std::shared_ptr<InputPipe> Exchange::upgrade(std::string_view protocol, const Headers& headers) {
  Responder::Observer unused_observer;
  const std::lock_guard lock(mutex_);
  if (state_ != State::open || form_.http_1_0) return nullptr;
  Headers all{{"Connection", "Upgrade"}, {"Upgrade", std::string(protocol)}};
  all.insert(all.end(), headers.begin(), headers.end());
  auto pipe = connection_->take_over(write_head({.status = 101, .request_id = form_.request_id}, all));
  if (!pipe) return nullptr;
  state_ = State::raw;
  account_.request.status = 101;
  account_.request.streamed = true;
  unused_observer = std::move(observer_);
  return pipe;
}

void Exchange::raw_end() {
  {
    const std::lock_guard lock(mutex_);
    if (state_ != State::raw || std::exchange(raw_ended_, true)) return;
  }
  connection_->end_output();
}

void Exchange::raw_release() {
  if (const auto was = leave_raw()) *was ? connection_->release() : connection_->cut();
  tell();
}

void Exchange::raw_abort() {
  const std::lock_guard lock(mutex_);
  if (state_ == State::raw) connection_->cut();
}

std::optional<bool> Exchange::leave_raw() {
  std::function<void()> unused[3];
  std::function<void(std::chrono::steady_clock::time_point)> unused_tick;
  const std::lock_guard lock(mutex_);
  if (state_ != State::raw) return std::nullopt;
  state_ = State::done;
  unused[0] = std::move(on_disconnect_);
  unused[1] = std::move(on_writable_);
  unused[2] = std::move(on_drain_);
  unused_tick = std::move(on_tick_);
  return raw_ended_;
}

void Exchange::on_drain(std::function<void()> callback) {
  {
    const std::lock_guard lock(mutex_);
    if (state_ == State::done) return;
    if (!connection_->draining()) {
      on_drain_.swap(callback);
      return;
    }
    if (std::exchange(drained_, true)) return;
  }
  if (callback) callback();
}

void Exchange::drain() {
  std::function<void()> callback;
  {
    const std::lock_guard lock(mutex_);
    if (std::exchange(drained_, on_drain_ != nullptr)) return;
    callback = std::exchange(on_drain_, nullptr);
  }
  if (callback) callback();
}

void Exchange::on_tick(std::function<void(std::chrono::steady_clock::time_point)> callback) {
  const std::lock_guard lock(mutex_);
  if (state_ != State::done && !gone_) on_tick_.swap(callback);
}

void Exchange::tick(std::chrono::steady_clock::time_point now) {
  std::function<void(std::chrono::steady_clock::time_point)> callback;
  {
    const std::lock_guard lock(mutex_);
    callback = on_tick_;
  }
  if (callback) callback(now);
}

void Exchange::on_disconnect(std::function<void()> callback) {
  {
    const std::lock_guard lock(mutex_);
    if (state_ == State::done) return;
    if (!gone_) {
      on_disconnect_.swap(callback);
      return;
    }
  }
  if (callback) callback();
}

void Exchange::on_writable(std::function<void()> callback) {
  const std::lock_guard lock(mutex_);
  if (state_ != State::done) on_writable_.swap(callback);
}

void Exchange::observe(Responder::Observer observer) {
  const std::lock_guard lock(mutex_);
  if (state_ == State::open) observer_ = std::move(observer);
}

bool Exchange::connected() const {
  const std::lock_guard lock(mutex_);
  return !gone_;
}

bool Exchange::answered() const {
  const std::lock_guard lock(mutex_);
  return state_ != State::open;
}

std::size_t Exchange::outstanding() const {
  return connection_->outstanding();
}

void Exchange::gone() {
  std::function<void()> callback;
  std::function<void()> unused_writable;
  std::function<void()> unused_drain;
  std::function<void(std::chrono::steady_clock::time_point)> unused_tick;
  {
    const std::lock_guard lock(mutex_);
    if (gone_) return;
    gone_ = true;
    unused_writable = std::move(on_writable_);
    unused_drain = std::move(on_drain_);
    unused_tick = std::move(on_tick_);
    if (state_ == State::done) return;
    callback = std::exchange(on_disconnect_, nullptr);
  }
  if (callback) callback();
}

void Exchange::credit_returned(std::size_t outstanding) {
  std::function<void()> callback;
  {
    const std::lock_guard lock(mutex_);
    if (!wants_credit_ || outstanding >= OutputQueue::credit || (state_ != State::streaming && state_ != State::raw))
      return;
    wants_credit_ = false;
    callback = on_writable_;
  }
  if (callback) callback();
}

void Exchange::probe() {
  const std::lock_guard lock(mutex_);
  if (form_.http_1_0) return;
  if (state_ == State::open) connection_->deliver("HTTP/1.1 102 Processing\r\n\r\n");
  if (state_ == State::streaming && events_ && chunked_) connection_->deliver(write_chunk(server_sent_comment()));
}

}  // namespace nanobox::http::transport
