#include "http/transport/connection.hpp"

#include <spdlog/spdlog.h>
#include <sys/socket.h>

#include <algorithm>
#include <exception>

#include "config/id.hpp"
#include "http/percent.hpp"
#include "http/problem.hpp"
#include "http/transport/exchange.hpp"
#include "http/transport/hub.hpp"

namespace nanobox::http::transport {
namespace {

// So much of further requests may wait while one is being answered.
constexpr std::size_t pipeline_limit = 128 << 10;
// A refused request's body up to this size is read and dropped, so that the connection can go on.
constexpr std::uint64_t dropped_body_limit = 64 << 10;

std::optional<Method> method_of(std::string_view name) {
  for (const auto method :
       {Method::get, Method::head, Method::post, Method::put, Method::patch, Method::del, Method::options})
    if (to_string(method) == name) return method;
  return std::nullopt;
}

bool is_usable_request_id(std::string_view id) {
  return !id.empty() && id.size() <= 128 && std::ranges::all_of(id, [](char c) { return c > 0x20 && c < 0x7f; });
}

}  // namespace

Connection::Connection(std::shared_ptr<Hub> hub, std::uint64_t id, bool peer_is_loopback,
                       std::weak_ptr<Pistache::Tcp::Peer> peer, Pistache::Tcp::Transport* transport)
    : hub_(std::move(hub)),
      id_(id),
      peer_is_loopback_(peer_is_loopback),
      output_(std::move(peer), transport),
      framer_(hub_->settings().limits.header_bytes),
      deadlines_(hub_->settings().timeouts, std::chrono::steady_clock::now()) {}

Connection::~Connection() = default;

void Connection::on_input(std::string_view bytes) {
  Lock lock(mutex_);
  if (phase_ == Phase::lingering || phase_ == Phase::gone) return;
  framer_.append(bytes);
  advance(lock);
}

bool Connection::wants_input() {
  const Lock lock(mutex_);
  paused_ = phase_ == Phase::answering && framer_.buffered() >= pipeline_limit;
  return !paused_;
}

bool Connection::on_end_of_input() {
  const Lock lock(mutex_);
  if (phase_ != Phase::answering) return false;
  half_closed_ = true;
  return true;
}

void Connection::advance(Lock& lock) {
  while (phase_ == Phase::reading) {
    const auto now = std::chrono::steady_clock::now();
    switch (framer_.next()) {
      case RequestFramer::Event::need_more:
        if (framer_.place() == RequestFramer::Place::header) deadlines_.header_bytes(now);
        if (framer_.place() == RequestFramer::Place::body) {
          deadlines_.body_bytes(now);
          const auto held = framer_.body_bytes();
          if (!refusal_ && held > body_reserved_) {
            const auto more = held - body_reserved_;
            if (hub_->reserve_body(more)) {
              body_reserved_ = held;
            } else {
              refuse(lock, {.code = ErrorCode::no_capacity,
                            .attempted = "read request",
                            .subject = request_.path,
                            .reason = "too many large requests at a time",
                            .mend = "try again a little later",
                            .retry_after_sec = 1});
            }
          }
        }
        if (half_closed_ && phase_ == Phase::reading) linger();
        return;
      case RequestFramer::Event::head:
        on_head();
        if (refusal_ && (framer_.head().expects_continue ||
                         framer_.head().content_length.value_or(dropped_body_limit) > dropped_body_limit)) {
          const auto error = std::move(*refusal_);
          refuse(lock, error);
        } else if (framer_.head().expects_continue && framer_.head().has_body && !framer_.head().http_1_0 &&
                   framer_.buffered() == 0) {
          output_.push("HTTP/1.1 100 Continue\r\n\r\n");
        }
        break;
      case RequestFramer::Event::complete:
        answer(lock);
        break;
      case RequestFramer::Event::refused: {
        const auto error = refusal_ ? *refusal_ : framer_.error();
        refuse(lock, error);
        break;
      }
    }
  }
}

void Connection::refuse_at_head(Error error, Headers headers) {
  refusal_ = std::move(error);
  refusal_headers_ = std::move(headers);
  framer_.accept_body(dropped_body_limit);
}

void Connection::on_head() {
  const auto& head = framer_.head();
  request_ = Request{};
  handler_.reset();
  refusal_.reset();
  refusal_headers_.clear();
  request_.path = head.path;
  request_.query = head.query;
  request_.headers = head.headers;
  request_.peer_is_loopback = peer_is_loopback_;
  const auto id = request_.header("x-request-id");
  request_.request_id = id && is_usable_request_id(*id) ? std::string(*id) : make_id("rq");
  const auto method = method_of(head.method);
  request_.method = method.value_or(Method::get);

  auto parameters = decode_query(head.query);
  if (!parameters) return refuse_at_head(std::move(parameters).error());
  request_.query_parameters = std::move(*parameters);
  auto found = hub_->router().find(request_.method, head.path);
  if (!found) return refuse_at_head(std::move(found).error());
  auto* match = std::get_if<Router::Match>(&*found);

  if (hub_->draining() && !(match != nullptr && match->options.while_draining))
    return refuse_at_head({.code = ErrorCode::shutting_down,
                           .attempted = "serve request",
                           .subject = {},
                           .reason = "the server is shutting down",
                           .mend = "try again when it is back",
                           .retry_after_sec = 5});
  request_.owner = "admin";
  request_.is_admin = true;
  if (hub_->settings().auth && !(match != nullptr && !match->options.needs_key)) {
    auto identity = hub_->settings().auth->identify(request_);
    if (!identity) return refuse_at_head(std::move(identity).error());
    request_.owner = std::move(identity->owner);
    request_.is_admin = identity->is_admin;
  }
  if (std::holds_alternative<Router::NoRoute>(*found))
    return refuse_at_head({.code = ErrorCode::route_not_found,
                           .attempted = "serve request",
                           .subject = {},
                           .reason = "there is nothing at " + head.path,
                           .mend = {}});
  if (!method || match == nullptr) {
    std::string allow;
    if (match == nullptr) {
      allow = std::get<Router::OtherMethods>(*found).allow;
    } else {
      const auto others = hub_->router().find(Method::options, head.path);
      if (others && std::holds_alternative<Router::OtherMethods>(*others))
        allow = std::get<Router::OtherMethods>(*others).allow;
    }
    return refuse_at_head({.code = ErrorCode::method_not_allowed,
                           .attempted = "serve request",
                           .subject = {},
                           .reason = head.method + " is not served at " + head.path,
                           .mend = "use one of " + allow},
                          {{"Allow", allow}});
  }
  if (head.content_length.value_or(0) > match->options.max_body_bytes)
    return refuse_at_head({.code = ErrorCode::body_too_large,
                           .attempted = "read request",
                           .subject = {},
                           .reason = "the body has " + std::to_string(*head.content_length) + " bytes",
                           .mend = "send at most " + std::to_string(match->options.max_body_bytes)});
  if (const auto length = head.content_length.value_or(0); length > 0) {
    if (!hub_->reserve_body(length))
      return refuse_at_head({.code = ErrorCode::no_capacity,
                             .attempted = "read request",
                             .subject = {},
                             .reason = "too many large requests at a time",
                             .mend = "try again a little later",
                             .retry_after_sec = 1});
    body_reserved_ = length;
  }
  request_.params = std::move(match->params);
  request_.route = std::move(match->pattern);
  handler_ = *match->handler;
  framer_.accept_body(match->options.max_body_bytes);
}

std::shared_ptr<Exchange> Connection::open_exchange(bool keep_alive) {
  const auto& head = framer_.head();
  phase_ = Phase::answering;
  deadlines_.answering(std::chrono::steady_clock::now());
  answer_done_ = false;
  close_after_ = !keep_alive;
  if (request_.request_id.empty()) request_.request_id = make_id("rq");
  current_ = std::make_shared<Exchange>(shared_from_this(), Exchange::Form{.request_id = request_.request_id,
                                                                           .instance = request_.path,
                                                                           .without_body = head.method == "HEAD",
                                                                           .http_1_0 = head.http_1_0,
                                                                           .keep_alive = keep_alive});
  hub_->request_begins();
  return current_;
}

void Connection::answer(Lock& lock) {
  const auto exchange = open_exchange(framer_.head().keep_alive);
  if (refusal_) {
    const auto error = std::move(*refusal_);
    const auto headers = std::move(refusal_headers_);
    refusal_.reset();
    lock.unlock();
    Responder(exchange).send_problem(error, headers);
    lock.lock();
    return;
  }
  request_.body = framer_.take_body();
  auto handler = std::move(*handler_);
  handler_.reset();
  Request request = std::move(request_);
  request_ = Request{};
  lock.unlock();
  try {
    handler(std::move(request), Responder(exchange));
  } catch (const std::exception& wrong) {
    spdlog::error("the handler of {} threw: {}", exchange->instance(), wrong.what());
    Responder(exchange).send_problem({.code = ErrorCode::internal,
                                      .attempted = "serve request",
                                      .subject = {},
                                      .reason = "an unexpected failure inside the server",
                                      .mend = "see the server's log for this request_id"});
  }
  lock.lock();
}

void Connection::refuse(Lock& lock, const Error& error) {
  const auto headers = std::move(refusal_headers_);
  refusal_headers_.clear();
  refusal_.reset();
  const auto exchange = open_exchange(false);
  lock.unlock();
  Responder(exchange).send_problem(error, headers);
  lock.lock();
}

bool Connection::closes_after_answer() const {
  return hub_->draining();
}

void Connection::deliver(std::string bytes) {
  output_.push(std::move(bytes));
}

void Connection::finish(std::string bytes, bool close) {
  const Lock lock(mutex_);
  answer_done_ = true;
  close_after_ = close_after_ || close;
  if (bytes.empty())
    output_.nudge();
  else
    output_.push(std::move(bytes));
}

void Connection::on_written() {
  output_.on_written();
  const auto held = output_.outstanding();
  Lock lock(mutex_);
  const auto exchange = current_;
  if (phase_ == Phase::answering && answer_done_) {
    if (held == 0) complete_answer(lock);
    return;
  }
  lock.unlock();
  if (exchange) exchange->credit_returned(held);
}

void Connection::on_progress() {
  output_.on_progress();
}

void Connection::on_nudge() {
  Lock lock(mutex_);
  const auto exchange = current_;
  const auto held = output_.outstanding();
  if (phase_ == Phase::answering && answer_done_) {
    if (held == 0) complete_answer(lock);
    return;
  }
  lock.unlock();
  if (exchange) exchange->credit_returned(held);
}

void Connection::complete_answer(Lock& lock) {
  const auto answered = std::move(current_);  // its last owner may be here: end it without the lock
  current_.reset();
  hub_->release_body(std::exchange(body_reserved_, 0));
  hub_->request_ends();
  if (close_after_ || hub_->draining() || (half_closed_ && framer_.buffered() == 0)) {
    linger();
  } else {
    framer_.restart();
    request_ = Request{};
    phase_ = Phase::reading;
    deadlines_.between_requests(std::chrono::steady_clock::now());
    advance(lock);
    if (std::exchange(paused_, false)) output_.nudge();
  }
  lock.unlock();
}

void Connection::linger() {
  phase_ = Phase::lingering;
  deadlines_.lingering(std::chrono::steady_clock::now());
  output_.shut_down(half_closed_ ? SHUT_RDWR : SHUT_WR);
  // What was left unread while this one was answered is read and dropped: unread bytes would turn the close into a
  // reset that may overtake the answer.
  if (std::exchange(paused_, false)) output_.nudge();
}

void Connection::on_gone() {
  std::shared_ptr<Exchange> exchange;
  {
    const Lock lock(mutex_);
    output_.close();
    if (phase_ == Phase::answering) hub_->request_ends();
    hub_->release_body(std::exchange(body_reserved_, 0));
    phase_ = Phase::gone;
    exchange = std::move(current_);
  }
  hub_->leave(id_);
  if (exchange) exchange->gone();
}

void Connection::tick(Instant now) {
  Lock lock(mutex_);
  const auto slow = [&](std::string what) {
    refuse(lock, {.code = ErrorCode::request_timeout,
                  .attempted = "read request",
                  .subject = {},
                  .reason = std::move(what),
                  .mend = "send the request without pauses"});
  };
  switch (phase_) {
    case Phase::gone:
      return;
    case Phase::answering: {
      const auto& timeouts = hub_->settings().timeouts;
      if (output_.outstanding() > 0 && now - output_.waiting_since() > timeouts.write_stall) return cut();
      if (!half_closed_ || now - probed_at_ < timeouts.probe) return;
      probed_at_ = now;
      const auto exchange = current_;
      lock.unlock();
      if (exchange) exchange->probe();
      return;
    }
    case Phase::reading:
    case Phase::lingering:
      break;
  }
  switch (deadlines_.at(now)) {
    case Deadlines::Verdict::wait:
      return;
    case Deadlines::Verdict::idle:
    case Deadlines::Verdict::linger_over:
      return cut();
    case Deadlines::Verdict::slow_header:
      return slow("the header block did not arrive in time");
    case Deadlines::Verdict::slow_body:
      return slow("the body did not arrive in time");
  }
}

void Connection::cut() {
  output_.shut_down(SHUT_RDWR);
}

}  // namespace nanobox::http::transport
