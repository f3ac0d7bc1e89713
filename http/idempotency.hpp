#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

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
  /// with a key writes the row before the work; one meanwhile waits; a later one gets the first answer again. A server
  /// error (5xx), 429 or 408 leaves no row behind. The handler may read `interrupted_subject` from the request's
  /// params.
  RouteHandler wrap(RouteHandler handler, IdempotencyOptions options = {});

  /// Notes what the request with this key is making, before it is made (a sandbox's id). Without a key: nothing.
  void note_subject(const Request& request, std::string subject);

private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace nanobox::http
