#include "pipeline/store/idempotency_table.hpp"

#include <limits>

namespace nanobox {
namespace {

// The states' numbers are on disk.
enum class RowState : std::int64_t { at_work = 1, done = 2, interrupted = 3 };

std::int64_t number(RowState state) {
  return static_cast<std::int64_t>(state);
}
std::int64_t milliseconds_of(WallTime time) {
  return time.time_since_epoch().count();
}

SqliteQuery& bind(SqliteQuery& query, const IdempotencyScope& scope) {
  return query.text(scope.owner).text(scope.method).text(scope.path).text(scope.key);
}

}  // namespace

const char* const IdempotencyTable::kSchema = R"(
  CREATE TABLE idempotency (
    owner TEXT NOT NULL,
    method TEXT NOT NULL,
    path TEXT NOT NULL,
    key TEXT NOT NULL,
    body_digest TEXT NOT NULL,
    state INTEGER NOT NULL,
    subject TEXT NOT NULL DEFAULT '',
    status INTEGER,
    content_type TEXT,
    body TEXT,
    answer_until_ms INTEGER,
    expires_ms INTEGER NOT NULL,
    PRIMARY KEY (owner, method, path, key)
  ) STRICT;
  CREATE INDEX idempotency_by_expiry ON idempotency (expires_ms);
)";

Result<void> IdempotencyTable::interrupt_all() {
  auto query = NANOBOX_TRY(database_.query("UPDATE idempotency SET state = ? WHERE state = ?"));
  query.number(number(RowState::interrupted)).number(number(RowState::at_work));
  return query.run();
}

Result<IdempotencyStart> IdempotencyTable::start(const IdempotencyScope& scope, std::string_view body_digest,
                                                 WallTime now, std::chrono::milliseconds keep) {
  auto transaction = NANOBOX_TRY(SqliteTransaction::begin(database_));
  {
    auto query = NANOBOX_TRY(database_.query(
        "INSERT INTO idempotency (owner, method, path, key, body_digest, state, expires_ms) "
        "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO UPDATE SET body_digest = ?5, state = ?6, subject = '', "
        "status = NULL, content_type = NULL, body = NULL, answer_until_ms = NULL, expires_ms = ?7 "
        "WHERE expires_ms <= ?8 AND state != ?6"));
    bind(query, scope).text(body_digest).number(number(RowState::at_work));
    query.number(milliseconds_of(now + keep)).number(milliseconds_of(now));
    NANOBOX_TRY(query.run());
    if (database_.changes() > 0) {
      NANOBOX_TRY(transaction.commit());
      return idempotency::Fresh{};
    }
  }
  auto row =
      NANOBOX_TRY(database_.query("SELECT body_digest, state, subject, status, content_type, body, answer_until_ms "
                                  "FROM idempotency WHERE owner = ? AND method = ? AND path = ? AND key = ?"));
  bind(row, scope);
  NANOBOX_TRY(row.step());
  if (row.text_at(0) != body_digest)
    return fail({.code = ErrorCode::idempotency_key_reused,
                 .attempted = "repeat request",
                 .subject = scope.key,
                 .reason = "this Idempotency-Key was used with another body",
                 .mend = "use a new key for a new request"});
  switch (static_cast<RowState>(row.number_at(1))) {
    case RowState::at_work:
      return idempotency::InFlight{};
    case RowState::done: {
      if (row.is_null(3) || row.number_at(6) <= milliseconds_of(now)) return idempotency::Answered{};
      return idempotency::Answered{KeptAnswer{.status = static_cast<std::uint16_t>(row.number_at(3)),
                                              .content_type = row.text_at(4),
                                              .body = row.text_at(5)}};
    }
    case RowState::interrupted:
      break;
  }
  auto taken_over =
      NANOBOX_TRY(database_.query("UPDATE idempotency SET state = ?5, expires_ms = ?6 WHERE owner = ?1 AND method = ?2 "
                                  "AND path = ?3 AND key = ?4"));
  bind(taken_over, scope).number(number(RowState::at_work)).number(milliseconds_of(now + keep));
  NANOBOX_TRY(taken_over.run());
  idempotency::Interrupted interrupted{row.text_at(2)};
  NANOBOX_TRY(transaction.commit());
  return interrupted;
}

Result<void> IdempotencyTable::note_subject(const IdempotencyScope& scope, std::string_view subject) {
  auto query = NANOBOX_TRY(database_.query(
      "UPDATE idempotency SET subject = ?5 WHERE owner = ?1 AND method = ?2 AND path = ?3 AND key = ?4"));
  bind(query, scope).text(subject);
  return query.run();
}

Result<void> IdempotencyTable::finish(const IdempotencyScope& scope, const std::optional<KeptAnswer>& answer,
                                      std::optional<WallTime> keep_until) {
  auto query =
      NANOBOX_TRY(database_.query("UPDATE idempotency SET state = ?5, status = ?6, content_type = ?7, body = ?8, "
                                  "answer_until_ms = ?9 WHERE owner = ?1 AND method = ?2 AND path = ?3 AND key = ?4"));
  bind(query, scope).number(number(RowState::done));
  if (answer)
    query.number(answer->status).text(answer->content_type).text(answer->body);
  else
    query.null().null().null();
  query.number(keep_until ? milliseconds_of(*keep_until) : std::numeric_limits<std::int64_t>::max());
  return query.run();
}

Result<void> IdempotencyTable::abandon(const IdempotencyScope& scope) {
  auto query =
      NANOBOX_TRY(database_.query("DELETE FROM idempotency WHERE owner = ? AND method = ? AND path = ? AND key = ?"));
  bind(query, scope);
  return query.run();
}

Result<std::size_t> IdempotencyTable::expire_rows(WallTime now) {
  {
    auto bodies =
        NANOBOX_TRY(database_.query("UPDATE idempotency SET status = NULL, content_type = NULL, body = NULL "
                                    "WHERE answer_until_ms <= ? AND status IS NOT NULL"));
    bodies.number(milliseconds_of(now));
    NANOBOX_TRY(bodies.run());
  }
  auto rows = NANOBOX_TRY(database_.query("DELETE FROM idempotency WHERE expires_ms <= ? AND state != ?"));
  rows.number(milliseconds_of(now)).number(number(RowState::at_work));
  NANOBOX_TRY(rows.run());
  return static_cast<std::size_t>(database_.changes());
}

}  // namespace nanobox
