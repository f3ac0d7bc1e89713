#include "pipeline/store/record_table.hpp"

#include <algorithm>

namespace nanobox {
namespace {

std::int64_t milliseconds_of(WallTime time) {
  return time.time_since_epoch().count();
}

Error conflict(std::string_view kind, std::string_view key, std::string reason) {
  return {.code = ErrorCode::conflict,
          .attempted = "change record",
          .subject = std::string(kind) + "/" + std::string(key),
          .reason = std::move(reason),
          .mend = "read it again and decide anew"};
}

Error lease_gone(std::uint64_t lease) {
  return {.code = ErrorCode::conflict,
          .attempted = "use lease",
          .subject = std::to_string(lease),
          .reason = "it has expired or was never granted",
          .mend = "take a new lease"};
}

Record record_at(const SqliteQuery& row) {
  return {.kind = row.text_at(0),
          .key = row.text_at(1),
          .owner = row.text_at(2),
          .version = static_cast<std::uint64_t>(row.number_at(3)),
          .value = row.text_at(4),
          .lease = static_cast<std::uint64_t>(row.number_at(5))};
}

}  // namespace

const char* const RecordTable::kSchema = R"(
  CREATE TABLE revision (last INTEGER NOT NULL) STRICT;
  INSERT INTO revision VALUES (0);
  CREATE TABLE lease (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    owner TEXT NOT NULL,
    ttl_ms INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE record (
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    owner TEXT NOT NULL,
    version INTEGER NOT NULL,
    value TEXT NOT NULL,
    lease INTEGER REFERENCES lease (id),
    PRIMARY KEY (kind, key)
  ) STRICT;
  CREATE INDEX record_by_lease ON record (lease) WHERE lease IS NOT NULL;
)";

Result<std::uint64_t> RecordTable::revision() {
  auto query = NANOBOX_TRY(database_.query("SELECT last FROM revision"));
  NANOBOX_TRY(query.step());
  return static_cast<std::uint64_t>(query.number_at(0));
}

Result<std::uint64_t> RecordTable::next_revision() {
  auto query = NANOBOX_TRY(database_.query("UPDATE revision SET last = last + 1"));
  NANOBOX_TRY(query.run());
  return revision();
}

Result<std::optional<Record>> RecordTable::get(std::string_view kind, std::string_view key) {
  auto query = NANOBOX_TRY(
      database_.query("SELECT kind, key, owner, version, value, lease FROM record WHERE kind = ? AND key = ?"));
  query.text(kind).text(key);
  if (!NANOBOX_TRY(query.step())) return std::nullopt;
  return record_at(query);
}

Result<RecordPage> RecordTable::list(const RecordQuery& asked) {
  const auto limit = std::clamp<std::size_t>(asked.limit, 1, 1000);
  RecordPage page;
  page.revision = NANOBOX_TRY(revision());
  auto query = NANOBOX_TRY(database_.query(
      "SELECT kind, key, owner, version, value, lease FROM record WHERE kind = ?1 AND key >= ?2 AND key > ?3 "
      "ORDER BY key LIMIT ?4"));
  query.text(asked.kind).text(asked.key_prefix).text(asked.cursor).number(static_cast<std::int64_t>(limit) + 1);
  while (NANOBOX_TRY(query.step())) {
    if (!query.text_at(1).starts_with(asked.key_prefix)) break;
    if (page.items.size() == limit) {
      page.next_cursor = page.items.back().key;
      break;
    }
    page.items.push_back(record_at(query));
  }
  return page;
}

Result<RecordEvent> RecordTable::put(const RecordChange& change, std::uint64_t revision) {
  if (change.lease != 0 && !NANOBOX_TRY(has_lease(change.lease))) return fail(lease_gone(change.lease));
  auto query = NANOBOX_TRY(
      database_.query("INSERT INTO record (kind, key, owner, version, value, lease) VALUES (?1, ?2, ?3, ?4, ?5, ?6) "
                      "ON CONFLICT (kind, key) DO UPDATE SET owner = ?3, version = ?4, value = ?5, lease = ?6"));
  query.text(change.kind).text(change.key).text(change.owner).number(static_cast<std::int64_t>(revision));
  query.text(*change.value);
  change.lease == 0 ? query.null() : query.number(static_cast<std::int64_t>(change.lease));
  NANOBOX_TRY(query.run());
  return RecordEvent{.record = {.kind = change.kind,
                                .key = change.key,
                                .owner = change.owner,
                                .version = revision,
                                .value = *change.value,
                                .lease = change.lease},
                     .deleted = false};
}

Result<std::optional<RecordEvent>> RecordTable::erase(std::string_view kind, std::string_view key,
                                                      std::uint64_t revision) {
  auto old = NANOBOX_TRY(get(kind, key));
  if (!old) return std::nullopt;
  auto query = NANOBOX_TRY(database_.query("DELETE FROM record WHERE kind = ? AND key = ?"));
  query.text(kind).text(key);
  NANOBOX_TRY(query.run());
  return RecordEvent{
      .record = {.kind = old->kind, .key = old->key, .owner = old->owner, .version = revision, .value = "", .lease = 0},
      .deleted = true};
}

Result<RecordTable::Committed> RecordTable::commit(const std::vector<RecordChange>& changes) {
  Committed done;
  if (changes.empty()) {
    done.revision = NANOBOX_TRY(revision());
    return done;
  }
  auto transaction = NANOBOX_TRY(SqliteTransaction::begin(database_));
  done.revision = NANOBOX_TRY(next_revision());
  for (const auto& change : changes) {
    const auto current = NANOBOX_TRY(get(change.kind, change.key));
    const auto version = current ? current->version : 0;
    if (version == done.revision) return fail(conflict(change.kind, change.key, "it occurs twice in one transaction"));
    if (change.expect && *change.expect != version)
      return fail(conflict(change.kind, change.key,
                           "its version is " + std::to_string(version) + ", not " + std::to_string(*change.expect)));
    if (change.value) {
      done.events.push_back(NANOBOX_TRY(put(change, done.revision)));
    } else if (auto event = NANOBOX_TRY(erase(change.kind, change.key, done.revision))) {
      done.events.push_back(std::move(*event));
    }
  }
  NANOBOX_TRY(transaction.commit());
  return done;
}

Result<bool> RecordTable::has_lease(std::uint64_t lease) {
  auto query = NANOBOX_TRY(database_.query("SELECT 1 FROM lease WHERE id = ?"));
  query.number(static_cast<std::int64_t>(lease));
  return query.step();
}

Result<std::uint64_t> RecordTable::grant_lease(std::string_view owner, std::chrono::milliseconds ttl, WallTime now) {
  auto query =
      NANOBOX_TRY(database_.query("INSERT INTO lease (owner, ttl_ms, expires_ms) VALUES (?, ?, ?) RETURNING id"));
  query.text(owner).number(ttl.count()).number(milliseconds_of(now + ttl));
  NANOBOX_TRY(query.step());
  const auto id = static_cast<std::uint64_t>(query.number_at(0));
  NANOBOX_TRY(query.run());
  return id;
}

Result<void> RecordTable::keep_lease(std::uint64_t lease, WallTime now) {
  auto query =
      NANOBOX_TRY(database_.query("UPDATE lease SET expires_ms = ?1 + ttl_ms WHERE id = ?2 AND expires_ms > ?1"));
  query.number(milliseconds_of(now)).number(static_cast<std::int64_t>(lease));
  NANOBOX_TRY(query.run());
  if (database_.changes() == 0) return fail(lease_gone(lease));
  return {};
}

Result<std::vector<RecordEvent>> RecordTable::drop_lease(std::uint64_t lease) {
  std::vector<std::pair<std::string, std::string>> names;
  {
    auto query = NANOBOX_TRY(database_.query("SELECT kind, key FROM record WHERE lease = ? ORDER BY kind, key"));
    query.number(static_cast<std::int64_t>(lease));
    while (NANOBOX_TRY(query.step())) names.emplace_back(query.text_at(0), query.text_at(1));
  }
  std::vector<RecordEvent> events;
  const auto revision = names.empty() ? 0 : NANOBOX_TRY(next_revision());
  for (const auto& [kind, key] : names)
    if (auto event = NANOBOX_TRY(erase(kind, key, revision))) events.push_back(std::move(*event));
  auto query = NANOBOX_TRY(database_.query("DELETE FROM lease WHERE id = ?"));
  query.number(static_cast<std::int64_t>(lease));
  NANOBOX_TRY(query.run());
  return events;
}

Result<std::vector<RecordEvent>> RecordTable::revoke_lease(std::uint64_t lease) {
  auto transaction = NANOBOX_TRY(SqliteTransaction::begin(database_));
  auto events = NANOBOX_TRY(drop_lease(lease));
  NANOBOX_TRY(transaction.commit());
  return events;
}

Result<RecordTable::Expired> RecordTable::expire_leases(WallTime now) {
  Expired result;
  std::vector<std::uint64_t> ids;
  {
    auto query = NANOBOX_TRY(database_.query("SELECT id FROM lease WHERE expires_ms <= ? ORDER BY id"));
    query.number(milliseconds_of(now));
    while (NANOBOX_TRY(query.step())) ids.push_back(static_cast<std::uint64_t>(query.number_at(0)));
  }
  if (!ids.empty()) {
    auto transaction = NANOBOX_TRY(SqliteTransaction::begin(database_));
    for (const auto id : ids)
      for (auto& event : NANOBOX_TRY(drop_lease(id))) result.events.push_back(std::move(event));
    NANOBOX_TRY(transaction.commit());
  }
  auto query = NANOBOX_TRY(database_.query("SELECT min(expires_ms) FROM lease"));
  if (NANOBOX_TRY(query.step()) && !query.is_null(0))
    result.next = WallTime{std::chrono::milliseconds{query.number_at(0)}};
  return result;
}

}  // namespace nanobox
