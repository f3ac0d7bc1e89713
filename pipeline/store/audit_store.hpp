#pragma once

#include <filesystem>
#include <memory>
#include <vector>

#include "config/error.hpp"
#include "pipeline/store/audit_entry.hpp"

namespace nanobox {

/// The audit on disk. SQLite (WAL, synchronous=NORMAL: what was added survives the daemon's death, a power failure may
/// take the last seconds); thread-safe, a reader does not keep the writer waiting; blocks. Every function fails with
/// `store_failed` or `disk_full`.
class AuditStore {
public:
  /// Opens or makes DATA/audit.db (0600). @errors as ControlStore::open
  static Result<std::shared_ptr<AuditStore>> open(const std::filesystem::path& file);
  ~AuditStore();
  AuditStore(const AuditStore&) = delete;
  AuditStore& operator=(const AuditStore&) = delete;

  /// All of them or none. One whose id is known already is left as it is.
  Result<void> add(const std::vector<AuditEntry>& entries);
  /// In the order that is asked for.
  Result<std::vector<AuditEntry>> find(const AuditQuery& query) const;
  /// Deletes what is too old, and of the rest the oldest until it takes at most three quarters of `bytes`, once it
  /// takes more than `bytes`. @returns how many
  Result<std::size_t> retire(const AuditRetention& retention, WallTime now);
  /// What its entries take, without space that is free for others.
  Result<std::uint64_t> bytes() const;

private:
  struct Impl;
  explicit AuditStore(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace nanobox
