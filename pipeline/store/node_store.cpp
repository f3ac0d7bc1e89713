#include "pipeline/store/node_store.hpp"

#include <mutex>

#include "pipeline/store/sqlite.hpp"

namespace nanobox {
namespace {

constexpr std::uint32_t kNodeStoreMark = 0x4E42584E;  // "NBXN"

constexpr const char* kFirstVersion = R"(
  CREATE TABLE vm (sandbox_id TEXT PRIMARY KEY, identity TEXT NOT NULL) STRICT;
  CREATE TABLE deadline (sandbox_id TEXT PRIMARY KEY, expires_ms INTEGER NOT NULL) STRICT;
  CREATE TABLE lease (kind TEXT NOT NULL, number INTEGER NOT NULL, holder TEXT NOT NULL, PRIMARY KEY (kind, number)) STRICT;
  CREATE INDEX lease_by_holder ON lease (holder);
)";

}  // namespace

struct NodeStore::Impl {
  std::mutex mutex;
  SqliteDatabase database;

  explicit Impl(SqliteDatabase opened) : database(std::move(opened)) {}

  template <class... Values>
  Result<void> run(const char* sql, const Values&... values) {
    const std::lock_guard lock(mutex);
    return run_locked(sql, values...);
  }

  template <class... Values>
  Result<void> run_locked(const char* sql, const Values&... values) {
    auto query = NANOBOX_TRY(database.query(sql));
    (bind(query, values), ...);
    return query.run();
  }

private:
  static void bind(SqliteQuery& query, std::string_view value) { query.text(value); }
  static void bind(SqliteQuery& query, std::int64_t value) { query.number(value); }
};

NodeStore::NodeStore(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
NodeStore::~NodeStore() = default;

Result<std::shared_ptr<NodeStore>> NodeStore::open(const std::filesystem::path& file) {
  auto database = NANOBOX_TRY(SqliteDatabase::open(
      file, {.application_id = kNodeStoreMark, .migrations = {kFirstVersion}, .survives_power_failure = false}));
  struct Opened final : NodeStore {
    explicit Opened(std::unique_ptr<Impl> impl) : NodeStore(std::move(impl)) {}
  };
  return std::make_shared<Opened>(std::make_unique<Impl>(std::move(database)));
}

Result<void> NodeStore::put_vm(std::string_view sandbox_id, std::string_view identity) {
  return impl_->run("INSERT INTO vm (sandbox_id, identity) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET identity = ?2",
                    sandbox_id, identity);
}

Result<std::optional<VmRow>> NodeStore::vm(std::string_view sandbox_id) const {
  const std::lock_guard lock(impl_->mutex);
  auto query = NANOBOX_TRY(impl_->database.query("SELECT sandbox_id, identity FROM vm WHERE sandbox_id = ?"));
  query.text(sandbox_id);
  if (!NANOBOX_TRY(query.step())) return std::nullopt;
  return VmRow{.sandbox_id = query.text_at(0), .identity = query.text_at(1)};
}

Result<std::vector<VmRow>> NodeStore::vms() const {
  const std::lock_guard lock(impl_->mutex);
  auto query = NANOBOX_TRY(impl_->database.query("SELECT sandbox_id, identity FROM vm ORDER BY sandbox_id"));
  std::vector<VmRow> rows;
  while (NANOBOX_TRY(query.step())) rows.push_back({.sandbox_id = query.text_at(0), .identity = query.text_at(1)});
  return rows;
}

Result<void> NodeStore::remove_vm(std::string_view sandbox_id) {
  return impl_->run("DELETE FROM vm WHERE sandbox_id = ?", sandbox_id);
}

Result<void> NodeStore::take_over(std::string_view from, std::string_view to, std::string_view identity) {
  const std::lock_guard lock(impl_->mutex);
  auto transaction = NANOBOX_TRY(SqliteTransaction::begin(impl_->database));
  NANOBOX_TRY(impl_->run_locked("DELETE FROM vm WHERE sandbox_id = ?", from));
  NANOBOX_TRY(impl_->run_locked(
      "INSERT INTO vm (sandbox_id, identity) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET identity = ?2", to, identity));
  NANOBOX_TRY(impl_->run_locked("UPDATE lease SET holder = ?2 WHERE holder = ?1", from, to));
  return transaction.commit();
}

Result<void> NodeStore::put_deadline(std::string_view sandbox_id, WallTime expires_at) {
  return impl_->run(
      "INSERT INTO deadline (sandbox_id, expires_ms) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET expires_ms = ?2",
      sandbox_id, std::int64_t{expires_at.time_since_epoch().count()});
}

Result<std::map<std::string, WallTime>> NodeStore::deadlines() const {
  const std::lock_guard lock(impl_->mutex);
  auto query = NANOBOX_TRY(impl_->database.query("SELECT sandbox_id, expires_ms FROM deadline"));
  std::map<std::string, WallTime> rows;
  while (NANOBOX_TRY(query.step()))
    rows.emplace(query.text_at(0), WallTime{std::chrono::milliseconds{query.number_at(1)}});
  return rows;
}

Result<void> NodeStore::remove_deadline(std::string_view sandbox_id) {
  return impl_->run("DELETE FROM deadline WHERE sandbox_id = ?", sandbox_id);
}

Result<std::uint64_t> NodeStore::lease(std::string_view kind, std::uint64_t first, std::uint64_t last,
                                       std::string_view holder) {
  const std::lock_guard lock(impl_->mutex);
  auto transaction = NANOBOX_TRY(SqliteTransaction::begin(impl_->database));
  auto free = first;
  {
    auto query = NANOBOX_TRY(impl_->database.query(
        "SELECT number FROM lease WHERE kind = ? AND number >= ? AND number <= ? ORDER BY number"));
    query.text(kind).number(static_cast<std::int64_t>(first)).number(static_cast<std::int64_t>(last));
    while (free <= last && NANOBOX_TRY(query.step()) && static_cast<std::uint64_t>(query.number_at(0)) == free) ++free;
  }
  if (free > last)
    return fail({.code = ErrorCode::no_capacity,
                 .attempted = "lease a number",
                 .subject = std::string(kind),
                 .reason = "all of " + std::to_string(first) + " to " + std::to_string(last) + " are held",
                 .mend = "end sandboxes that are no longer needed"});
  NANOBOX_TRY(impl_->run_locked("INSERT INTO lease (kind, number, holder) VALUES (?, ?, ?)", kind,
                                static_cast<std::int64_t>(free), holder));
  NANOBOX_TRY(transaction.commit());
  return free;
}

Result<std::vector<HeldLease>> NodeStore::leases(std::string_view kind) const {
  const std::lock_guard lock(impl_->mutex);
  auto query =
      NANOBOX_TRY(impl_->database.query("SELECT kind, number, holder FROM lease WHERE kind = ? ORDER BY number"));
  query.text(kind);
  std::vector<HeldLease> rows;
  while (NANOBOX_TRY(query.step()))
    rows.push_back({.kind = query.text_at(0),
                    .number = static_cast<std::uint64_t>(query.number_at(1)),
                    .holder = query.text_at(2)});
  return rows;
}

Result<void> NodeStore::release(std::string_view kind, std::uint64_t number) {
  return impl_->run("DELETE FROM lease WHERE kind = ? AND number = ?", kind, static_cast<std::int64_t>(number));
}

Result<void> NodeStore::forget_vmm(std::string_view sandbox_id) {
  const std::lock_guard lock(impl_->mutex);
  auto transaction = NANOBOX_TRY(SqliteTransaction::begin(impl_->database));
  NANOBOX_TRY(impl_->run_locked("DELETE FROM vm WHERE sandbox_id = ?", sandbox_id));
  NANOBOX_TRY(impl_->run_locked("DELETE FROM lease WHERE kind = 'uid' AND holder = ?", sandbox_id));
  return transaction.commit();
}

Result<void> NodeStore::forget(std::string_view sandbox_id) {
  const std::lock_guard lock(impl_->mutex);
  auto transaction = NANOBOX_TRY(SqliteTransaction::begin(impl_->database));
  NANOBOX_TRY(impl_->run_locked("DELETE FROM vm WHERE sandbox_id = ?", sandbox_id));
  NANOBOX_TRY(impl_->run_locked("DELETE FROM deadline WHERE sandbox_id = ?", sandbox_id));
  NANOBOX_TRY(impl_->run_locked("DELETE FROM lease WHERE holder = ?", sandbox_id));
  return transaction.commit();
}

}  // namespace nanobox
