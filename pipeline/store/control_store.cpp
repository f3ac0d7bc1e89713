#include "pipeline/store/control_store.hpp"

#include <mutex>

#include "pipeline/store/idempotency_table.hpp"
#include "pipeline/store/record_table.hpp"
#include "pipeline/store/record_watches.hpp"
#include "pipeline/store/sqlite.hpp"

namespace nanobox {
namespace {

constexpr std::uint32_t kControlStoreMark = 0x4E425843;  // "NBXC"

/// Locks, asks the tables, announces after the lock.
class SqliteControlStore final : public ControlStore {
public:
  explicit SqliteControlStore(SqliteDatabase database)
      : database_(std::move(database)), records_(database_), idempotency_(database_) {}

  Result<void> interrupt_all() { return idempotency_.interrupt_all(); }

  Result<std::optional<Record>> get(std::string_view kind, std::string_view key) const override {
    const std::lock_guard lock(mutex_);
    return records_.get(kind, key);
  }

  Result<RecordPage> list(const RecordQuery& query) const override {
    const std::lock_guard lock(mutex_);
    return records_.list(query);
  }

  Result<std::uint64_t> commit(const std::vector<RecordChange>& changes) override {
    std::uint64_t revision = 0;
    {
      const std::lock_guard lock(mutex_);
      auto done = NANOBOX_TRY(records_.commit(changes));
      revision = done.revision;
      watches_.queue(std::move(done.events));
    }
    watches_.deliver();
    return revision;
  }

  Result<std::uint64_t> grant_lease(std::string_view owner, std::chrono::milliseconds ttl, WallTime now) override {
    const std::lock_guard lock(mutex_);
    return records_.grant_lease(owner, ttl, now);
  }

  Result<void> keep_lease(std::uint64_t lease, WallTime now) override {
    const std::lock_guard lock(mutex_);
    return records_.keep_lease(lease, now);
  }

  Result<void> revoke_lease(std::uint64_t lease) override {
    {
      const std::lock_guard lock(mutex_);
      watches_.queue(NANOBOX_TRY(records_.revoke_lease(lease)));
    }
    watches_.deliver();
    return {};
  }

  Result<std::optional<WallTime>> expire_leases(WallTime now) override {
    std::optional<WallTime> next;
    {
      const std::lock_guard lock(mutex_);
      auto expired = NANOBOX_TRY(records_.expire_leases(now));
      next = expired.next;
      watches_.queue(std::move(expired.events));
    }
    watches_.deliver();
    return next;
  }

  std::unique_ptr<RecordWatch> watch(std::string_view kind,
                                     std::function<void(const RecordEvent&)> on_change) override {
    return watches_.add(kind, std::move(on_change));
  }

  Result<IdempotencyStart> start(const IdempotencyScope& scope, std::string_view body_digest, WallTime now,
                                 std::chrono::milliseconds keep) override {
    const std::lock_guard lock(mutex_);
    return idempotency_.start(scope, body_digest, now, keep);
  }

  Result<void> note_subject(const IdempotencyScope& scope, std::string_view subject) override {
    const std::lock_guard lock(mutex_);
    return idempotency_.note_subject(scope, subject);
  }

  Result<void> finish(const IdempotencyScope& scope, const std::optional<KeptAnswer>& answer,
                      std::optional<WallTime> keep_until) override {
    const std::lock_guard lock(mutex_);
    return idempotency_.finish(scope, answer, keep_until);
  }

  Result<void> abandon(const IdempotencyScope& scope) override {
    const std::lock_guard lock(mutex_);
    return idempotency_.abandon(scope);
  }

  Result<std::size_t> expire_rows(WallTime now) override {
    const std::lock_guard lock(mutex_);
    return idempotency_.expire_rows(now);
  }

private:
  mutable std::mutex mutex_;
  SqliteDatabase database_;
  mutable RecordTable records_;
  IdempotencyTable idempotency_;
  RecordWatches watches_;
};

}  // namespace

Result<std::shared_ptr<ControlStore>> ControlStore::open(const std::filesystem::path& file) {
  static const std::string first_version = std::string(RecordTable::kSchema) + IdempotencyTable::kSchema;
  auto database = NANOBOX_TRY(SqliteDatabase::open(
      file,
      {.application_id = kControlStoreMark, .migrations = {first_version.c_str()}, .survives_power_failure = true}));
  auto store = std::make_shared<SqliteControlStore>(std::move(database));
  NANOBOX_TRY(store->interrupt_all());
  return store;
}

}  // namespace nanobox
