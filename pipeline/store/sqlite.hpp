#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "config/error.hpp"

namespace nanobox {

/// What a store's file must be.
struct SqliteSchema {
  std::uint32_t application_id;         ///< marks the file as ours
  std::vector<const char*> migrations;  ///< script n takes version n to n + 1; never changed once released
  bool survives_power_failure;          ///< synchronous=FULL, else NORMAL
};

/// A borrowed statement with its bound values; gives itself back (reset, values cleared) when it goes.
class SqliteQuery {
public:
  SqliteQuery(SqliteQuery&& other) noexcept = default;
  SqliteQuery& operator=(SqliteQuery&&) = delete;
  ~SqliteQuery() = default;

  /// Binds the next parameter.
  SqliteQuery& text(std::string_view value);
  SqliteQuery& number(std::int64_t value);
  SqliteQuery& null();

  /// Moves to the next row; false: there is none.
  Result<bool> step();
  /// Runs a statement whose rows do not matter.
  Result<void> run();

  std::string text_at(int column) const;
  std::int64_t number_at(int column) const;
  bool is_null(int column) const;

private:
  friend class SqliteDatabase;
  struct GiveBack {
    void operator()(sqlite3_stmt* statement) const noexcept;
  };
  SqliteQuery(sqlite3_stmt* statement, const std::string& file) : statement_(statement), file_(&file) {}
  std::unique_ptr<sqlite3_stmt, GiveBack> statement_;
  const std::string* file_;
  int bound_ = 0;
};

/// One connection to one file, WAL, migrated to the schema. Not thread-safe: its store has the mutex.
class SqliteDatabase {
public:
  /// @errors store_failed (damaged, newer, another program's, not accessible) · disk_full
  static Result<SqliteDatabase> open(const std::filesystem::path& file, const SqliteSchema& schema);

  /// A statement, prepared once; `sql` must be a literal. One query of a literal at a time.
  Result<SqliteQuery> query(const char* sql);
  /// Statements without values.
  Result<void> run(const char* sql);
  /// Rows the last statement changed.
  std::int64_t changes() const;
  bool in_transaction() const;

private:
  struct Close {
    void operator()(sqlite3* handle) const noexcept { sqlite3_close_v2(handle); }
  };
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const noexcept { sqlite3_finalize(statement); }
  };
  Result<void> configure(const SqliteSchema& schema);
  Result<void> migrate(const SqliteSchema& schema);
  Result<std::int64_t> pragma(const char* sql);
  Error error() const;

  std::unique_ptr<std::string> file_;
  std::unique_ptr<sqlite3, Close> handle_;
  std::map<const char*, std::unique_ptr<sqlite3_stmt, Finalize>> statements_;
};

/// Undoes its transaction unless `commit` was called and succeeded.
class SqliteTransaction {
public:
  /// Takes the write lock at once, so that nothing read inside can be overtaken.
  static Result<SqliteTransaction> begin(SqliteDatabase& database);
  SqliteTransaction(SqliteTransaction&& other) noexcept : database_(std::exchange(other.database_, nullptr)) {}
  SqliteTransaction& operator=(SqliteTransaction&&) = delete;
  ~SqliteTransaction();
  Result<void> commit();

private:
  explicit SqliteTransaction(SqliteDatabase& database) : database_(&database) {}
  SqliteDatabase* database_;
};

}  // namespace nanobox
