#include "http/idempotency.hpp"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "config/log.hpp"
#include "config/sha256.hpp"
#include "http/sse.hpp"

namespace nanobox::http {
namespace {

bool is_usable_key(std::string_view key) {
  return !key.empty() && key.size() <= 255 && std::ranges::all_of(key, [](char c) { return c > 0x1f && c < 0x7f; });
}

// Nothing was done for these: a repeat may try again.
bool is_forgotten(int status, bool connected) {
  switch (status) {
    case 400:
    case 401:
    case 403:
    case 404:
    case 408:
    case 413:
    case 415:
    case 422:
    case 429:
    case 503:
      return true;
    default:
      return status >= 400 && !connected;  // the client went away and its work was given up
  }
}

IdempotencyScope scope_of(const Request& request) {
  return {.owner = request.owner,
          .method = std::string(to_string(request.method)),
          .path = request.query.empty() ? request.path : request.path + "?" + request.query,
          .key = std::string(request.header("idempotency-key").value_or(""))};
}

std::string name_of(const IdempotencyScope& scope) {
  return scope.owner + '\n' + scope.method + '\n' + scope.path + '\n' + scope.key;
}

// Hold on a row: whatever becomes of the request, the row is finished or forgotten in the end.
class IdempotencyClaim {
public:
  using Settle = std::function<void(std::optional<KeptAnswer> answer, bool forget)>;
  explicit IdempotencyClaim(Settle settle) : settle_(std::move(settle)) {}
  ~IdempotencyClaim() { settle(std::nullopt, true); }
  IdempotencyClaim(const IdempotencyClaim&) = delete;
  IdempotencyClaim& operator=(const IdempotencyClaim&) = delete;

  void settle(std::optional<KeptAnswer> answer, bool forget) {
    if (const auto once = std::exchange(settle_, nullptr)) once(std::move(answer), forget);
  }

private:
  Settle settle_;
};

}  // namespace

struct Idempotency::State : std::enable_shared_from_this<State> {
  struct Asked {
    Request request;
    Responder responder;
    std::shared_ptr<const RouteHandler> handler;
    std::shared_ptr<const IdempotencyOptions> options;
  };

  explicit State(std::shared_ptr<IdempotencyStore> rows) : store(std::move(rows)) {}

  const std::shared_ptr<IdempotencyStore> store;
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::function<void()>> jobs;
  bool stopping = false;
  // Touched by the store's thread only: what this process is at work on, and who waits for it.
  std::map<std::string, std::vector<std::shared_ptr<Asked>>> at_work;

  void post(std::function<void()> job) {
    {
      const std::lock_guard lock(mutex);
      if (stopping) return;
      jobs.push_back(std::move(job));
    }
    changed.notify_one();
  }

  void run() {
    for (;;) {
      std::function<void()> job;
      {
        std::unique_lock lock(mutex);
        changed.wait(lock, [this] { return stopping || !jobs.empty(); });
        if (jobs.empty()) return;
        job = std::move(jobs.front());
        jobs.pop_front();
      }
      try {
        job();
      } catch (const std::exception& wrong) {
        log_error(LogComponent::http, {}, "a request with an Idempotency-Key failed inside the server: {}",
                  wrong.what());
      }
    }
  }

  void submit(std::shared_ptr<Asked> asked) {
    post([self = shared_from_this(), asked = std::move(asked)] { self->start(asked); });
  }

  void start(const std::shared_ptr<Asked>& asked) {
    const auto scope = scope_of(asked->request);
    const auto found = store->start(scope, digest_of(asked->request.body), wall_now());
    if (!found) return asked->responder.send_problem(found.error());
    if (const auto* answered = std::get_if<idempotency::Answered>(&*found)) return replay(*asked, *answered);
    if (std::holds_alternative<idempotency::InFlight>(*found)) {
      const auto working = at_work.find(name_of(scope));
      if (working != at_work.end()) {
        working->second.push_back(asked);
        return;
      }
      return asked->responder.send_problem({.code = ErrorCode::conflict,
                                            .attempted = "serve request",
                                            .subject = scope.key,
                                            .reason = "the first request with this Idempotency-Key is still at work",
                                            .mend = "try again later",
                                            .retry_after_sec = 1});
    }
    if (const auto* interrupted = std::get_if<idempotency::Interrupted>(&*found))
      asked->request.params["interrupted_subject"] = interrupted->subject;
    at_work.try_emplace(name_of(scope));
    const auto claim =
        std::make_shared<IdempotencyClaim>([self = shared_from_this(), scope, keep = asked->options->keep_answer](
                                               std::optional<KeptAnswer> answer, bool forget) {
          self->post(
              [self, scope, keep, answer = std::move(answer), forget] { self->settle(scope, answer, keep, forget); });
        });
    asked->responder.observe([claim, most = asked->options->max_answer_bytes](int status, std::string_view content_type,
                                                                              std::string_view body, bool connected) {
      if (is_forgotten(status, connected)) return claim->settle(std::nullopt, true);
      if (body.size() > most) return claim->settle(std::nullopt, false);
      claim->settle(KeptAnswer{.status = static_cast<std::uint16_t>(status),
                               .content_type = std::string(content_type),
                               .body = std::string(body)},
                    false);
    });
    (*asked->handler)(std::move(asked->request), std::move(asked->responder));
  }

  static void replay(Asked& asked, const idempotency::Answered& answered) {
    if (!answered.answer)
      return asked.responder.send_problem({.code = ErrorCode::answer_not_kept,
                                           .attempted = "repeat answer",
                                           .subject = {},
                                           .reason = "the request was done, but its answer is no longer kept",
                                           .mend = "look at what it made; send a new key to do it again"});
    asked.responder.send_bytes(answered.answer->status, answered.answer->content_type, answered.answer->body,
                               {{"Idempotency-Replayed", "true"}});
  }

  void settle(const IdempotencyScope& scope, const std::optional<KeptAnswer>& answer, std::chrono::milliseconds keep,
              bool forget) {
    const auto settled = forget ? store->abandon(scope) : store->finish(scope, answer, wall_now() + keep);
    if (!settled)
      log_error(LogComponent::http, {}, "the row of an Idempotency-Key is left as it was: {}",
                describe(settled.error()));
    auto working = at_work.extract(name_of(scope));
    if (working.empty()) return;
    for (auto& asked : working.mapped()) submit(std::move(asked));
  }
};

Idempotency::Idempotency(std::shared_ptr<IdempotencyStore> store)
    : state_(std::make_shared<State>(std::move(store))), thread_([state = state_] { state->run(); }) {}

Idempotency::~Idempotency() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->stopping = true;
  }
  state_->changed.notify_all();
  thread_.join();
}

RouteHandler Idempotency::wrap(RouteHandler handler, IdempotencyOptions options) {
  if (!options.streams) options.streams = [](const Request& request) { return request.accepts(event_stream_type); };
  return
      [state = state_, handler = std::make_shared<const RouteHandler>(std::move(handler)),
       options = std::make_shared<const IdempotencyOptions>(std::move(options))](Request request, Responder responder) {
        const auto key = request.header("idempotency-key");
        if (!key) return (*handler)(std::move(request), std::move(responder));
        const auto refuse = [&](std::string reason, std::string mend) {
          responder.send_problem({.code = ErrorCode::idempotency_key_unsupported,
                                  .attempted = "read Idempotency-Key",
                                  .subject = {},
                                  .reason = std::move(reason),
                                  .mend = std::move(mend)});
        };
        if (!is_usable_key(*key))
          return refuse("it is empty, too long or not ASCII", "send 1 to 255 visible characters");
        if (options->streams(request)) return refuse("a streamed answer cannot be repeated", "leave the key out");
        state->submit(
            std::make_shared<State::Asked>(State::Asked{std::move(request), std::move(responder), handler, options}));
      };
}

void Idempotency::note_subject(const Request& request, std::string subject, std::function<void(Result<void>)> then) {
  if (!request.header("idempotency-key")) return then({});
  state_->post([state = state_, scope = scope_of(request), subject = std::move(subject), then = std::move(then)] {
    then(state->store->note_subject(scope, subject));
  });
}

}  // namespace nanobox::http
