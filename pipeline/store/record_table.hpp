#pragma once

#include <vector>

#include "pipeline/store/record_store.hpp"
#include "pipeline/store/sqlite.hpp"

namespace nanobox {

/// Records and leases in SQLite. Not thread-safe: ControlStore locks, and announces the events after its lock.
class RecordTable {
public:
  static const char* const kSchema;

  explicit RecordTable(SqliteDatabase& database) : database_(database) {}

  struct Committed {
    std::uint64_t revision = 0;
    std::vector<RecordEvent> events;
  };
  struct Expired {
    std::optional<WallTime> next;
    std::vector<RecordEvent> events;
  };

  Result<std::optional<Record>> get(std::string_view kind, std::string_view key);
  Result<RecordPage> list(const RecordQuery& query);
  Result<Committed> commit(const std::vector<RecordChange>& changes);
  Result<std::uint64_t> grant_lease(std::string_view owner, std::chrono::milliseconds ttl, WallTime now);
  Result<void> keep_lease(std::uint64_t lease, WallTime now);
  Result<std::vector<RecordEvent>> revoke_lease(std::uint64_t lease);
  Result<Expired> expire_leases(WallTime now);

private:
  Result<std::uint64_t> revision();
  Result<std::uint64_t> next_revision();
  Result<bool> has_lease(std::uint64_t lease);
  Result<RecordEvent> put(const RecordChange& change, std::uint64_t revision);
  Result<std::optional<RecordEvent>> erase(std::string_view kind, std::string_view key, std::uint64_t revision);
  Result<std::vector<RecordEvent>> drop_lease(std::uint64_t lease);

  SqliteDatabase& database_;
};

}  // namespace nanobox
