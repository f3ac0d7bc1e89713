#include "http/transport/connection.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <exception>
#include <utility>

#include "config/id.hpp"
#include "config/log.hpp"
#include "http/auth.hpp"
#include "http/percent.hpp"
#include "http/problem.hpp"
#include "http/transport/exchange.hpp"
#include "http/transport/hub.hpp"
#include "http/transport/input_pipe.hpp"

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

// What a handler throws is not the client's to see.
template <class Call>
void guard_handler(const std::shared_ptr<Exchange>& exchange, Call call) {
  try {
    call();
  } catch (const std::exception& wrong) {
    log_error(LogComponent::http, {}, "the handler of {} threw: {}", exchange->instance(), wrong.what());
    Responder(exchange).send_problem({.code = ErrorCode::internal,
                                      .attempted = "serve request",
                                      .subject = {},
                                      .reason = "an unexpected failure inside the server",
                                      .mend = "see the server's log for this request_id"});
  }
}

Error broken_off(ErrorCode code, std::string reason, std::string mend = {}) {
  return {
      .code = code, .attempted = "read request", .subject = {}, .reason = std::move(reason), .mend = std::move(mend)};
}

}  // namespace

Connection::Connection(std::shared_ptr<Hub> hub, std::uint64_t id, PeerAddress address,
                       std::weak_ptr<Pistache::Tcp::Peer> peer, Pistache::Tcp::Transport* transport)
    : hub_(std::move(hub)),
      id_(id),
      address_(std::move(address)),
      output_(std::move(peer), transport),
      framer_(hub_->settings().limits.header_bytes),
      deadlines_(hub_->settings().timeouts, std::chrono::steady_clock::now()) {}

Connection::~Connection() = default;

void Connection::on_input(std::string_view bytes) {
  if (cut_) return;
  Lock lock(mutex_);
  last_input_ = std::chrono::steady_clock::now();
  switch (phase_) {
    case Phase::gone:
      return;
    case Phase::lingering:
      return deadlines_.lingering_bytes(last_input_);
    case Phase::raw:
      if (!released_) input_->push(std::string(bytes));
      return deliver_input(lock);
    case Phase::answering:
      framer_.append(bytes);
      feed_body(lock);
      return settle_answer(lock);
    case Phase::reading:
      framer_.append(bytes);
      return advance(lock);
  }
}

bool Connection::reads_on() {
  if (cut_) return true;
  if (phase_ == Phase::raw) return released_ || (!input_->abandoned() && input_->wants_input());
  if (phase_ != Phase::answering) return true;
  if (body_open_) return drops_body_ || (!input_->abandoned() && input_->wants_input());
  return framer_.buffered() < pipeline_limit;
}

bool Connection::wants_input() {
  const Lock lock(mutex_);
  const bool wants = reads_on();
  if (wants && paused_) last_input_ = std::chrono::steady_clock::now();
  paused_ = !wants;
  return wants;
}

bool Connection::on_end_of_input() {
  if (cut_) return false;
  Lock lock(mutex_);
  if (phase_ != Phase::answering && phase_ != Phase::raw) return false;
  half_closed_ = true;
  if (phase_ == Phase::raw) {
    input_->end({});
  } else if (body_open_) {
    break_body_off(broken_off(ErrorCode::cancelled, "the client ended in the middle of the body", "send all of it"));
  }
  deliver_input(lock);
  settle(lock);
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
        } else if (streaming_handler_ && !refusal_) {
          begin_body(lock);
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
  identified_ = false;
  handler_.reset();
  streaming_handler_.reset();
  refusal_.reset();
  refusal_headers_.clear();
  request_.path = head.path;
  request_.query = head.query;
  request_.headers = head.headers;
  request_.upgrade = head.upgrade;
  request_.connection_options = head.connection_options;
  request_.peer_address = address_.text;
  request_.peer_is_loopback = address_.is_loopback;
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
    auto identity = hub_->settings().auth->identify(request_, match != nullptr && match->options.forwards);
    if (!identity) return refuse_at_head(std::move(identity).error());
    request_.owner = std::move(identity->owner);
    request_.is_admin = identity->is_admin;
    request_.has_key = identity->has_key;
    hub_->settings().auth->remove_keys(request_);
  }
  identified_ = true;
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
  const bool streams = match->streaming != nullptr;
  if (streams && request_.method == Method::post && !match->options.forwards && request_.header("idempotency-key"))
    return refuse_at_head({.code = ErrorCode::idempotency_key_unsupported,
                           .attempted = "read Idempotency-Key",
                           .subject = {},
                           .reason = "a streamed request cannot be repeated",
                           .mend = "leave the key out"});
  const auto length = head.content_length.value_or(0);
  const auto held = streams && head.has_body
                        ? std::min<std::uint64_t>(length > 0 ? length : BodyReader::credit, BodyReader::credit)
                        : length;
  if (held > 0) {
    if (!hub_->reserve_body(held))
      return refuse_at_head({.code = ErrorCode::no_capacity,
                             .attempted = "read request",
                             .subject = {},
                             .reason = "too many large requests at a time",
                             .mend = "try again a little later",
                             .retry_after_sec = 1});
    body_reserved_ = held;
  }
  request_.params = std::move(match->params);
  request_.route = std::move(match->pattern);
  body_may_pause_ = match->options.body_may_pause;
  if (streams)
    streaming_handler_ = *match->streaming;
  else
    handler_ = *match->handler;
  framer_.accept_body(match->options.max_body_bytes, !streams);
}

std::shared_ptr<Exchange> Connection::open_exchange(bool keep_alive) {
  const auto& head = framer_.head();
  phase_ = Phase::answering;
  deadlines_.answering(std::chrono::steady_clock::now());
  answer_done_ = false;
  close_after_ = !keep_alive;
  if (request_.request_id.empty()) request_.request_id = make_id("rq");
  Exchange::Account account;
  if (const auto& sink = hub_->settings().served) {
    const auto id = request_.params.find("id");
    account.sink = sink;
    account.request = {.method = request_.method,
                       .route = request_.route,
                       .path = request_.path,
                       .subject = id == request_.params.end() ? "" : id->second,
                       .owner = identified_ ? request_.owner : "",
                       .peer_address = request_.peer_address,
                       .request_id = request_.request_id,
                       .notes = {}};
  }
  current_ = std::make_shared<Exchange>(shared_from_this(),
                                        Exchange::Form{.request_id = request_.request_id,
                                                       .instance = request_.path,
                                                       .without_body = head.method == "HEAD",
                                                       .http_1_0 = head.http_1_0,
                                                       .keep_alive = keep_alive},
                                        std::move(account));
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
  guard_handler(exchange, [&] { handler(std::move(request), Responder(exchange)); });
  lock.lock();
}

void Connection::begin_body(Lock& lock) {
  const auto exchange = open_exchange(framer_.head().keep_alive);
  const auto& head = framer_.head();
  input_ = std::make_shared<InputPipe>();
  body_open_ = head.has_body;
  if (!body_open_) {
    framer_.next();
    input_->end({});
  }
  drops_body_ = false;
  continued_ = !head.expects_continue || !head.has_body || head.http_1_0 || framer_.buffered() > 0;
  last_input_ = std::chrono::steady_clock::now();
  const auto length = head.has_body ? head.content_length : std::optional<std::uint64_t>(0);
  auto handler = std::move(*streaming_handler_);
  streaming_handler_.reset();
  Request request = std::move(request_);
  request_ = Request{};
  BodyReader body(exchange, input_, length);
  lock.unlock();
  guard_handler(exchange, [&] { handler(std::move(request), std::move(body), Responder(exchange)); });
  lock.lock();
  deliver_input(lock);
  feed_body(lock);
}

// (worker) Hands over what has come of a streamed body, as far as its reader has credit.
void Connection::feed_body(Lock& lock) {
  while (phase_ == Phase::answering && body_open_ && reads_on()) {
    const auto event = framer_.next();
    auto piece = framer_.take_body();
    const bool came = !piece.empty();
    if (!drops_body_) input_->push(std::move(piece));
    if (event == RequestFramer::Event::complete) {
      body_open_ = false;
      input_->end({});
    } else if (event == RequestFramer::Event::refused) {
      break_body_off(framer_.error());
    } else if (!came) {
      return;
    }
    deliver_input(lock);
  }
}

// What is left of the body will not be read: the connection is of no more use behind the answer.
void Connection::break_body_off(Error error) {
  body_open_ = false;
  close_after_ = true;
  input_->end(fail(std::move(error)));
}

void Connection::deliver_input(Lock& lock) {
  const auto former = std::exchange(former_input_, nullptr);
  const auto input = input_;
  if (!former && !input) return;
  lock.unlock();
  if (former) former->deliver();
  if (input) input->deliver();
  lock.lock();
}

bool Connection::rest_is_little() const {
  const auto& length = framer_.head().content_length;
  return continued_ && length && *length - framer_.body_bytes() <= dropped_body_limit;
}

void Connection::send_continue() {
  const Lock lock(mutex_);
  if (!body_open_ || std::exchange(continued_, true)) return;
  last_input_ = std::chrono::steady_clock::now();
  output_.push("HTTP/1.1 100 Continue\r\n\r\n");
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

bool Connection::draining() const {
  return hub_->draining();
}

bool Connection::closes_after_answer() {
  if (draining()) return true;
  const Lock lock(mutex_);
  return close_after_ || (body_open_ && !rest_is_little());
}

void Connection::deliver(std::string bytes) {
  output_.push(std::move(bytes));
}

void Connection::finish(std::string bytes, bool close) {
  const Lock lock(mutex_);
  answer_done_ = true;
  close_after_ = close_after_ || close;
  if (body_open_) {
    drops_body_ = !close_after_ && rest_is_little();
    close_after_ = !drops_body_;
  }
  if (bytes.empty() || body_open_) output_.nudge();
  if (!bytes.empty()) output_.push(std::move(bytes));
}

void Connection::on_written() {
  output_.on_written();
  Lock lock(mutex_);
  settle(lock);
}

void Connection::on_progress() {
  output_.on_progress();
}

void Connection::on_nudge() {
  Lock lock(mutex_);
  if (body_open_) feed_body(lock);
  deliver_input(lock);
  settle(lock);
}

// (worker) Goes on with what waits for output to leave.
void Connection::settle(Lock& lock) {
  if (phase_ == Phase::answering && answer_done_) return settle_answer(lock);
  const auto exchange = current_;
  if (phase_ == Phase::raw) settle_raw(lock);
  if (lock.owns_lock()) lock.unlock();
  if (exchange) exchange->credit_returned(output_.outstanding());
}

// (worker)
void Connection::settle_answer(Lock& lock) {
  if (phase_ != Phase::answering || !answer_done_) return;
  if (body_open_) {
    auto error = broken_off(ErrorCode::cancelled, "the request was answered before its body ended");
    if (close_after_)
      break_body_off(std::move(error));
    else
      input_->end(fail(std::move(error)));
    deliver_input(lock);
    feed_body(lock);
  }
  if (phase_ == Phase::answering && !body_open_ && output_.outstanding() == 0) complete_answer(lock);
}

void Connection::complete_answer(Lock& lock) {
  const auto answered = std::move(current_);  // its last owner may be here: end it without the lock
  current_.reset();
  const auto input = std::move(input_);
  input_.reset();
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
  if (input) {
    input->orphan();
    input->deliver();
  }
}

std::shared_ptr<InputPipe> Connection::take_over(std::string head) {
  const Lock lock(mutex_);
  if (phase_ != Phase::answering || body_open_ || answer_done_ || cut_) return nullptr;
  phase_ = Phase::raw;
  hub_->release_body(std::exchange(body_reserved_, 0));
  former_input_ = std::exchange(input_, std::make_shared<InputPipe>());
  if (former_input_) former_input_->orphan();
  input_->push(framer_.take_rest());
  if (half_closed_) input_->end({});
  output_.push(std::move(head));
  output_.nudge();
  return input_;
}

void Connection::end_output() {
  Lock lock(mutex_);
  output_ended_ = true;
  settle_raw(lock);
}

void Connection::release() {
  Lock lock(mutex_);
  released_ = true;
  settle_raw(lock);
}

void Connection::settle_raw(Lock& lock) {
  if (phase_ != Phase::raw || !output_ended_ || output_.outstanding() > 0) return;
  if (!released_) {
    if (half_closed_)
      output_.shut_down(SHUT_RDWR);
    else if (!std::exchange(output_shut_, true))
      output_.shut_down(SHUT_WR);
    return;
  }
  const auto exchange = std::move(current_);
  current_.reset();
  const auto input = std::move(input_);
  input_.reset();
  hub_->request_ends();
  linger();
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
  std::shared_ptr<InputPipe> former;
  std::shared_ptr<InputPipe> input;
  {
    const Lock lock(mutex_);
    output_.close();
    if (phase_ == Phase::answering || phase_ == Phase::raw) hub_->request_ends();
    hub_->release_body(std::exchange(body_reserved_, 0));
    phase_ = Phase::gone;
    body_open_ = false;
    exchange = std::move(current_);
    former = std::move(former_input_);
    input = std::move(input_);
  }
  hub_->leave(id_);
  if (former) former->deliver();
  if (input) {
    input->end(fail(broken_off(ErrorCode::cancelled, "the client is gone")));
    input->orphan();
    input->deliver();
  }
  if (exchange) exchange->gone();
}

void Connection::on_drain() {
  std::shared_ptr<Exchange> exchange;
  {
    const Lock lock(mutex_);
    exchange = current_;
  }
  if (exchange) exchange->drain();
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
  const auto& timeouts = hub_->settings().timeouts;
  switch (phase_) {
    case Phase::gone:
      return;
    case Phase::raw: {
      if (output_.outstanding() > 0 && now - output_.waiting_since() > timeouts.write_stall) return cut();
      const auto exchange = current_;
      lock.unlock();
      if (exchange) exchange->tick(now);
      return;
    }
    case Phase::answering: {
      if (output_.outstanding() > 0 && now - output_.waiting_since() > timeouts.write_stall) return cut();
      if (body_open_ && continued_ && !paused_ && !body_may_pause_ && now - last_input_ > timeouts.body_pause) {
        break_body_off(
            broken_off(ErrorCode::request_timeout, "the body did not arrive in time", "send it without pauses"));
        output_.nudge();
      }
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
  cut_ = true;
  output_.shut_down(SHUT_RDWR);
}

}  // namespace nanobox::http::transport
