#include "pipeline/store/sqlite.hpp"

#include <fcntl.h>

#include <cerrno>
#include <utility>

#include "config/unique_fd.hpp"

namespace nanobox {
namespace {

Error sqlite_error(sqlite3* handle, const std::string& file) {
  const int code = handle == nullptr ? SQLITE_NOMEM : sqlite3_errcode(handle);
  Error error{.code = ErrorCode::store_failed,
              .attempted = "use the store",
              .subject = file,
              .reason = handle == nullptr ? "out of memory" : sqlite3_errmsg(handle),
              .mend = ""};
  const int number = handle == nullptr ? 0 : sqlite3_system_errno(handle);
  const bool full = code == SQLITE_FULL || (code == SQLITE_IOERR && (number == ENOSPC || number == EDQUOT));
  if (full) {
    error.code = ErrorCode::disk_full;
    error.mend = "free space on that file system";
    return error;
  }
  switch (code) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      error.mend = "restore the file from a backup, or move it away to start with an empty one";
      break;
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_READONLY:
      error.mend = "make the data folder writable for this user";
      break;
    case SQLITE_BUSY:
      error.reason = "another process keeps the file locked";
      error.mend = "end the program that has it open";
      break;
    default:
      break;
  }
  return error;
}

Error store_error(const std::string& file, std::string reason, std::string mend) {
  return {.code = ErrorCode::store_failed,
          .attempted = "open the store",
          .subject = file,
          .reason = std::move(reason),
          .mend = std::move(mend)};
}

}  // namespace

void SqliteQuery::GiveBack::operator()(sqlite3_stmt* statement) const noexcept {
  sqlite3_reset(statement);
  sqlite3_clear_bindings(statement);
}

SqliteQuery& SqliteQuery::text(std::string_view value) {
  // A null pointer would bind NULL: an empty view may hold one.
  sqlite3_bind_text64(statement_.get(), ++bound_, value.empty() ? "" : value.data(), value.size(), SQLITE_TRANSIENT,
                      SQLITE_UTF8);
  return *this;
}

SqliteQuery& SqliteQuery::number(std::int64_t value) {
  sqlite3_bind_int64(statement_.get(), ++bound_, value);
  return *this;
}

SqliteQuery& SqliteQuery::null() {
  sqlite3_bind_null(statement_.get(), ++bound_);
  return *this;
}

Result<bool> SqliteQuery::step() {
  switch (sqlite3_step(statement_.get())) {
    case SQLITE_ROW:
      return true;
    case SQLITE_DONE:
      return false;
    default:
      return fail(sqlite_error(sqlite3_db_handle(statement_.get()), *file_));
  }
}

Result<void> SqliteQuery::run() {
  while (NANOBOX_TRY(step())) {
  }
  return {};
}

std::string SqliteQuery::text_at(int column) const {
  const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement_.get(), column));
  if (text == nullptr) return {};
  return {text, static_cast<std::size_t>(sqlite3_column_bytes(statement_.get(), column))};
}

std::int64_t SqliteQuery::number_at(int column) const {
  return sqlite3_column_int64(statement_.get(), column);
}

bool SqliteQuery::is_null(int column) const {
  return sqlite3_column_type(statement_.get(), column) == SQLITE_NULL;
}

Error SqliteDatabase::error() const {
  return sqlite_error(handle_.get(), *file_);
}

Result<SqliteDatabase> SqliteDatabase::open(const std::filesystem::path& file, const SqliteSchema& schema) {
  // Made here, so that SQLite's -wal and -shm inherit 0600 from it.
  if (const UniqueFd made{::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)}; !made)
    return fail(errno_error(errno, "open the store", file, ErrorCode::store_failed));
  SqliteDatabase database;
  database.file_ = std::make_unique<std::string>(file.string());
  sqlite3* handle = nullptr;
  const int opened = sqlite3_open_v2(file.c_str(), &handle, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, nullptr);
  database.handle_.reset(handle);
  if (opened != SQLITE_OK) return fail(database.error());
  NANOBOX_TRY(database.configure(schema));
  NANOBOX_TRY(database.migrate(schema));
  return database;
}

Result<std::int64_t> SqliteDatabase::pragma(const char* sql) {
  auto statement = NANOBOX_TRY(query(sql));
  return NANOBOX_TRY(statement.step()) ? statement.number_at(0) : 0;
}

Result<void> SqliteDatabase::configure(const SqliteSchema& schema) {
  NANOBOX_TRY(run("PRAGMA busy_timeout=5000"));
  {
    auto checked = NANOBOX_TRY(query("PRAGMA quick_check(1)"));
    if (NANOBOX_TRY(checked.step()); checked.text_at(0) != "ok")
      return fail(store_error(*file_, "it is damaged: " + checked.text_at(0),
                              "restore the file from a backup, or move it away to start with an empty one"));
  }
  {
    auto mode = NANOBOX_TRY(query("PRAGMA journal_mode=WAL"));
    if (NANOBOX_TRY(mode.step()); mode.text_at(0) != "wal")
      return fail(store_error(*file_, "its file system cannot hold a write-ahead log (no shared memory maps)",
                              "place the data folder on a local file system"));
  }
  NANOBOX_TRY(run("PRAGMA foreign_keys=ON"));
  return run(schema.survives_power_failure ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL");
}

Result<void> SqliteDatabase::migrate(const SqliteSchema& schema) {
  auto transaction = NANOBOX_TRY(SqliteTransaction::begin(*this));
  const auto version = NANOBOX_TRY(pragma("PRAGMA user_version"));
  const auto known = static_cast<std::int64_t>(schema.migrations.size());
  const auto application = NANOBOX_TRY(pragma("PRAGMA application_id"));
  const bool empty = NANOBOX_TRY(pragma("SELECT count(*) FROM sqlite_schema")) == 0;
  if (application != schema.application_id && !(empty && application == 0 && version == 0))
    return fail(store_error(*file_, "it is a database of another program", "move the file away"));
  if (version > known)
    return fail(store_error(*file_,
                            "it was made by a newer NanoBox (schema " + std::to_string(version) + ", this one knows " +
                                std::to_string(known) + ")",
                            "start that version, or move the file away to begin with an empty store"));
  for (auto next = version; next < known; ++next) NANOBOX_TRY(run(schema.migrations[static_cast<std::size_t>(next)]));
  if (version < known) {
    const std::string marks = "PRAGMA application_id=" + std::to_string(schema.application_id) +
                              "; PRAGMA user_version=" + std::to_string(known);
    NANOBOX_TRY(run(marks.c_str()));
  }
  return transaction.commit();
}

Result<SqliteQuery> SqliteDatabase::query(const char* sql) {
  auto& statement = statements_[sql];
  if (!statement) {
    sqlite3_stmt* prepared = nullptr;
    if (sqlite3_prepare_v3(handle_.get(), sql, -1, SQLITE_PREPARE_PERSISTENT, &prepared, nullptr) != SQLITE_OK) {
      statements_.erase(sql);
      return fail(error());
    }
    statement.reset(prepared);
  }
  return SqliteQuery(statement.get(), *file_);
}

Result<void> SqliteDatabase::run(const char* sql) {
  if (sqlite3_exec(handle_.get(), sql, nullptr, nullptr, nullptr) != SQLITE_OK) return fail(error());
  return {};
}

std::int64_t SqliteDatabase::changes() const {
  return sqlite3_changes64(handle_.get());
}

bool SqliteDatabase::in_transaction() const {
  return sqlite3_get_autocommit(handle_.get()) == 0;
}

Result<SqliteTransaction> SqliteTransaction::begin(SqliteDatabase& database) {
  NANOBOX_TRY(database.run("BEGIN IMMEDIATE"));
  return SqliteTransaction(database);
}

SqliteTransaction::~SqliteTransaction() {
  // SQLite may have rolled back by itself (disk full): then nothing is left to undo.
  if (database_ != nullptr && database_->in_transaction()) (void)database_->run("ROLLBACK");
}

Result<void> SqliteTransaction::commit() {
  NANOBOX_TRY(database_->run("COMMIT"));
  database_ = nullptr;
  return {};
}

}  // namespace nanobox
