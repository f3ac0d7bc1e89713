#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/clock.hpp"
#include "config/error.hpp"

namespace nanobox {

/// One thing that survives a restart: its kind and key name it, `value` is a JSON text that only its owner's code
/// reads.
struct Record {
  std::string kind;  ///< "template", "sandbox", …
  std::string key;
  std::string owner;          ///< the name of the API key it belongs to
  std::uint64_t version = 0;  ///< the store's revision that last wrote it; never used twice, also not after a delete
  std::string value;
  std::uint64_t lease = 0;  ///< gone when this lease expires; 0: stays
  bool operator==(const Record&) const = default;
};

/// One step of a transaction: put (with `value`) or delete (without).
struct RecordChange {
  std::string kind;
  std::string key;
  std::optional<std::uint64_t> expect;  ///< the version it must have now; 0: must not exist; nothing: whatever it is
  std::string owner;
  std::optional<std::string> value;  ///< nothing: delete
  std::uint64_t lease = 0;
};

struct RecordQuery {
  std::string kind;
  std::string key_prefix;
  std::string cursor;       ///< `next_cursor` of the page before
  std::size_t limit = 100;  ///< 1..1000
};

struct RecordPage {
  std::vector<Record> items;               ///< by key, in the order of its bytes
  std::optional<std::string> next_cursor;  ///< nothing: this was the last page
  std::uint64_t revision = 0;              ///< the store's revision the page shows
};

/// What became of one record in a commit.
struct RecordEvent {
  Record record;  ///< as it is now; of a deleted one kind, key, owner and the deleting revision as version
  bool deleted = false;
};

/// Ends a watch when destroyed: afterwards its callback is not running and will not be called.
class RecordWatch {
public:
  virtual ~RecordWatch() = default;
};

/// Versioned records with compare-and-swap transactions, leases and watches: what the control plane needs of its store,
/// so that etcd can stand where SQLite does. Every function may be called from any thread and blocks: worker threads
/// and detached actors only.
class RecordStore {
public:
  virtual ~RecordStore() = default;

  virtual Result<std::optional<Record>> get(std::string_view kind, std::string_view key) const = 0;
  virtual Result<RecordPage> list(const RecordQuery& query) const = 0;

  /// Does all changes or none; a key may occur once. An empty transaction is a no-op.
  /// @returns the revision, which is the version of every record put
  /// @errors  conflict (subject "kind/key") where an expected version does not hold, or a lease is gone · store_failed
  virtual Result<std::uint64_t> commit(const std::vector<RecordChange>& changes) = 0;

  /// Records put with this lease are deleted once `expire_leases` finds that `keep_lease` did not come for `ttl`.
  virtual Result<std::uint64_t> grant_lease(std::string_view owner, std::chrono::milliseconds ttl, WallTime now) = 0;
  /// @errors conflict: the lease has expired
  virtual Result<void> keep_lease(std::uint64_t lease, WallTime now) = 0;
  /// Deletes the lease's records too.
  virtual Result<void> revoke_lease(std::uint64_t lease) = 0;
  /// Drops what has expired. @returns when the next lease will; the caller owns the timer
  virtual Result<std::optional<WallTime>> expire_leases(WallTime now) = 0;

  /// Calls `on_change` for every later change of `kind`, in the order of revisions, on a thread that commits; it must
  /// be short and must not throw, and may use the store. Watch first, then list: events at or below the list's revision
  /// are already in it.
  [[nodiscard]] virtual std::unique_ptr<RecordWatch> watch(std::string_view kind,
                                                           std::function<void(const RecordEvent&)> on_change) = 0;
};

/// Writes one record whatever its version is. @returns the new version
Result<std::uint64_t> put_record(RecordStore& store, std::string_view kind, std::string_view key,
                                 std::string_view owner, std::string value);
/// Deletes one record; a missing one is success.
Result<void> delete_record(RecordStore& store, std::string_view kind, std::string_view key);
/// Every record of a kind.
Result<std::vector<Record>> all_records(const RecordStore& store, std::string_view kind);

}  // namespace nanobox
