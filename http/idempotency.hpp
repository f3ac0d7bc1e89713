#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "config/error.hpp"
#include "http/request.hpp"
#include "http/responder.hpp"
#include "http/router.hpp"
#include "pipeline/store/idempotency_store.hpp"

namespace nanobox::http {

/// What a handler wants of an Idempotency-Key's row.
struct IdempotencyOptions {
  std::chrono::milliseconds keep_answer{std::chrono::hours{24}};  ///< 10 minutes for a buffered exec
  std::size_t max_answer_bytes = 1 << 20;                         ///< a larger one is not kept: 409 `answer_not_kept`
  /// Whether this request streams its answer: with a key that is 400. None: by `Accept: text/event-stream`.
  std::function<bool(const Request&)> streams = {};
};

/// Gives POST handlers the meaning of `Idempotency-Key`. Owns one thread for the store, which blocks. Thread-safe.
class Idempotency {
public:
  explicit Idempotency(std::shared_ptr<IdempotencyStore> store);
  ~Idempotency();
  Idempotency(const Idempotency&) = delete;
  Idempotency& operator=(const Idempotency&) = delete;

  /// A handler that does the work at most once per key: requests without a key go straight to `handler`; the first one
  /// with a key writes the row before the work; one meanwhile waits; a later one gets the first answer again. What was
  /// refused before any work (400, 401, 403, 404, 408, 413, 415, 422, 429, 503) leaves no row behind. Where the daemon
  /// had ended amid the work, `interrupted_subject` in the request's params is what was noted.
  RouteHandler wrap(RouteHandler handler, IdempotencyOptions options = {});

  /// Notes what the request with this key is making, before it is made (a sandbox's id); `then` is called afterwards,
  /// on the store's thread. Without a key at once.
  void note_subject(const Request& request, std::string subject, std::function<void(Result<void>)> then);

private:
  struct State;
  std::shared_ptr<State> state_;
  std::thread thread_;
};

}  // namespace nanobox::http
