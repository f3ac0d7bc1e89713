#pragma once

#include "pipeline/store/idempotency_store.hpp"
#include "pipeline/store/sqlite.hpp"

namespace nanobox {

/// IdempotencyStore's rows in SQLite. Not thread-safe: ControlStore locks.
class IdempotencyTable {
public:
  static const char* const kSchema;

  explicit IdempotencyTable(SqliteDatabase& database) : database_(database) {}

  /// Marks what was at work when the last daemon ended.
  Result<void> interrupt_all();
  Result<IdempotencyStart> start(const IdempotencyScope& scope, std::string_view body_digest, WallTime now,
                                 std::chrono::milliseconds keep);
  Result<void> note_subject(const IdempotencyScope& scope, std::string_view subject);
  Result<void> finish(const IdempotencyScope& scope, const std::optional<KeptAnswer>& answer,
                      std::optional<WallTime> keep_until);
  Result<void> abandon(const IdempotencyScope& scope);
  Result<std::size_t> expire_rows(WallTime now);

private:
  SqliteDatabase& database_;
};

}  // namespace nanobox
