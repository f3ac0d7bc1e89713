#include "pipeline/store/audit_store.hpp"

#include <limits>
#include <mutex>

#include "config/ascending_ids.hpp"
#include "pipeline/store/sqlite.hpp"

namespace nanobox {
namespace {

constexpr std::uint32_t kAuditStoreMark = 0x4E425841;  // "NBXA"

constexpr const char* kFirstVersion = R"(
  CREATE TABLE audit (
    id TEXT PRIMARY KEY,
    time_ms INTEGER NOT NULL,
    owner TEXT NOT NULL,
    peer TEXT NOT NULL,
    request_id TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    method TEXT NOT NULL,
    route TEXT NOT NULL,
    detail TEXT NOT NULL,
    status INTEGER NOT NULL,
    code TEXT NOT NULL,
    duration_ms INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
)";

const SqliteSchema kSchema{
    .application_id = kAuditStoreMark, .migrations = {kFirstVersion}, .survives_power_failure = false};

// Ids begin with the time: what is asked for by time is a range of them.
constexpr const char* kAscending =
    "SELECT id, time_ms, owner, peer, request_id, action, subject, method, route, detail, status, code, duration_ms "
    "FROM audit WHERE id > ?1 AND id >= ?2 AND (?3 IS NULL OR owner = ?3) AND (?4 IS NULL OR action = ?4) "
    "AND (?5 IS NULL OR subject = ?5) AND time_ms >= ?6 AND time_ms < ?7 ORDER BY id LIMIT ?8";
constexpr const char* kDescending =
    "SELECT id, time_ms, owner, peer, request_id, action, subject, method, route, detail, status, code, duration_ms "
    "FROM audit WHERE id < ?1 AND id >= ?2 AND (?3 IS NULL OR owner = ?3) AND (?4 IS NULL OR action = ?4) "
    "AND (?5 IS NULL OR subject = ?5) AND time_ms >= ?6 AND time_ms < ?7 ORDER BY id DESC LIMIT ?8";

void bind(SqliteQuery& query, const std::optional<std::string>& text) {
  if (text)
    query.text(*text);
  else
    query.null();
}

std::int64_t milliseconds_of(WallTime time) {
  return time.time_since_epoch().count();
}

AuditEntry entry_of(const SqliteQuery& row) {
  return {.id = row.text_at(0),
          .time = WallTime(std::chrono::milliseconds(row.number_at(1))),
          .owner = row.text_at(2),
          .peer = row.text_at(3),
          .request_id = row.text_at(4),
          .action = row.text_at(5),
          .subject = row.text_at(6),
          .method = row.text_at(7),
          .route = row.text_at(8),
          .detail = row.text_at(9),
          .status = static_cast<int>(row.number_at(10)),
          .code = row.text_at(11),
          .duration_ms = row.number_at(12)};
}

Result<std::int64_t> number(SqliteDatabase& database, const char* sql) {
  auto query = NANOBOX_TRY(database.query(sql));
  return NANOBOX_TRY(query.step()) ? query.number_at(0) : 0;
}

Result<std::uint64_t> taken_bytes(SqliteDatabase& database) {
  const auto pages = NANOBOX_TRY(number(database, "PRAGMA page_count"));
  const auto free = NANOBOX_TRY(number(database, "PRAGMA freelist_count"));
  return static_cast<std::uint64_t>((pages - free) * NANOBOX_TRY(number(database, "PRAGMA page_size")));
}

}  // namespace

struct AuditStore::Impl {
  mutable std::mutex writing;
  SqliteDatabase writer;
  mutable std::mutex reading;
  SqliteDatabase reader;
};

AuditStore::AuditStore(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
AuditStore::~AuditStore() = default;

Result<std::shared_ptr<AuditStore>> AuditStore::open(const std::filesystem::path& file) {
  auto writer = NANOBOX_TRY(SqliteDatabase::open(file, kSchema));
  auto reader = NANOBOX_TRY(SqliteDatabase::open(file, kSchema));
  return std::shared_ptr<AuditStore>(new AuditStore(std::unique_ptr<Impl>(
      new Impl{.writing = {}, .writer = std::move(writer), .reading = {}, .reader = std::move(reader)})));
}

Result<void> AuditStore::add(const std::vector<AuditEntry>& entries) {
  const std::lock_guard lock(impl_->writing);
  auto transaction = NANOBOX_TRY(SqliteTransaction::begin(impl_->writer));
  for (const auto& entry : entries) {
    auto row = NANOBOX_TRY(impl_->writer.query(
        "INSERT OR IGNORE INTO audit (id, time_ms, owner, peer, request_id, action, subject, method, "
        "route, detail, status, code, duration_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"));
    row.text(entry.id).number(milliseconds_of(entry.time)).text(entry.owner).text(entry.peer).text(entry.request_id);
    row.text(entry.action).text(entry.subject).text(entry.method).text(entry.route).text(entry.detail);
    row.number(entry.status).text(entry.code).number(entry.duration_ms);
    NANOBOX_TRY(row.run());
  }
  return transaction.commit();
}

Result<std::vector<AuditEntry>> AuditStore::find(const AuditQuery& query) const {
  const std::lock_guard lock(impl_->reading);
  auto rows = NANOBOX_TRY(impl_->reader.query(query.newest_first ? kDescending : kAscending));
  // '~' is behind every character of an id.
  rows.text(query.behind.value_or(query.newest_first ? "~" : ""));
  // The clock may have been set back by then: ids may be a little later than their time, never earlier.
  rows.text(query.since ? least_id_at("au", *query.since) : "");
  bind(rows, query.owner);
  bind(rows, query.action);
  bind(rows, query.subject);
  rows.number(query.since ? milliseconds_of(*query.since) : 0);
  rows.number(query.until ? milliseconds_of(*query.until) : std::numeric_limits<std::int64_t>::max());
  rows.number(static_cast<std::int64_t>(query.most));
  std::vector<AuditEntry> found;
  while (NANOBOX_TRY(rows.step())) found.push_back(entry_of(rows));
  return found;
}

Result<std::size_t> AuditStore::retire(const AuditRetention& retention, WallTime now) {
  const std::lock_guard lock(impl_->writing);
  auto& database = impl_->writer;
  std::int64_t gone = 0;
  {
    auto old = NANOBOX_TRY(database.query("DELETE FROM audit WHERE id < ? AND time_ms < ?"));
    // Only a clock that was set back makes an id later than its entry: that one goes a little later.
    old.text(least_id_at("au", now - retention.age)).number(milliseconds_of(now - retention.age));
    NANOBOX_TRY(old.run());
    gone += database.changes();
  }
  if (NANOBOX_TRY(taken_bytes(database)) > retention.bytes) {
    while (NANOBOX_TRY(taken_bytes(database)) > retention.bytes / 4 * 3) {
      auto oldest =
          NANOBOX_TRY(database.query("DELETE FROM audit WHERE id IN (SELECT id FROM audit ORDER BY id LIMIT 2000)"));
      NANOBOX_TRY(oldest.run());
      if (database.changes() == 0) break;
      gone += database.changes();
    }
  }
  // Free pages are used again; a file that is larger than it may ever be again gives them back.
  const auto pages =
      NANOBOX_TRY(number(database, "PRAGMA page_count")) * NANOBOX_TRY(number(database, "PRAGMA page_size"));
  if (static_cast<std::uint64_t>(pages) > retention.bytes + retention.bytes / 8) NANOBOX_TRY(database.run("VACUUM"));
  return static_cast<std::size_t>(gone);
}

Result<std::uint64_t> AuditStore::bytes() const {
  const std::lock_guard lock(impl_->writing);
  return taken_bytes(impl_->writer);
}

}  // namespace nanobox
