#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "config/clock.hpp"
#include "config/error.hpp"

namespace nanobox {

/// What an Idempotency-Key is scoped to.
struct IdempotencyScope {
  std::string owner;
  std::string method;
  std::string path;
  std::string key;
};

/// An answer kept to be given again.
struct KeptAnswer {
  std::uint16_t status = 0;
  std::string content_type;
  std::string body;
  bool operator==(const KeptAnswer&) const = default;
};

/// Where a request with an Idempotency-Key stands.
namespace idempotency {
/// The row is written now: do the work, then `finish` (or `abandon` it).
struct Fresh {};
/// Another request with the same body is at work: wait for its answer.
struct InFlight {};
/// The first answer, to be given again; nothing: it was done, but its answer was not kept (409 answer_not_kept).
struct Answered {
  std::optional<KeptAnswer> answer;
};
/// The daemon ended while at work. The row is this request's now; `subject` is what the work had made so far.
struct Interrupted {
  std::string subject;
};
}  // namespace idempotency
using IdempotencyStart =
    std::variant<idempotency::Fresh, idempotency::InFlight, idempotency::Answered, idempotency::Interrupted>;

/// The rows behind Idempotency-Key. Thread-safe; blocks: worker threads and detached actors only.
class IdempotencyStore {
public:
  virtual ~IdempotencyStore() = default;

  /// Looks the key up and writes the row, durably, before the work. Rows past their time count as absent.
  /// @param body_digest of the request's body, "sha256:…"
  /// @errors idempotency_key_reused: same key, another body · store_failed
  virtual Result<IdempotencyStart> start(const IdempotencyScope& scope, std::string_view body_digest, WallTime now,
                                         std::chrono::milliseconds keep = std::chrono::hours{24}) = 0;
  /// Notes what the work is making (a sandbox's id), for `Interrupted`.
  virtual Result<void> note_subject(const IdempotencyScope& scope, std::string_view subject) = 0;
  /// Keeps the answer until `keep_until`; without one only that it was done (until the row's own time).
  virtual Result<void> finish(const IdempotencyScope& scope, const std::optional<KeptAnswer>& answer,
                              std::optional<WallTime> keep_until = std::nullopt) = 0;
  /// Forgets the row: nothing was done, a repeat may try again.
  virtual Result<void> abandon(const IdempotencyScope& scope) = 0;
  /// Deletes rows past their time. @returns how many
  virtual Result<std::size_t> expire_rows(WallTime now) = 0;
};

}  // namespace nanobox
