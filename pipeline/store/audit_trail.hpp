#pragma once

#include <deque>
#include <functional>
#include <mutex>

#include "config/ascending_ids.hpp"
#include "pipeline/store/audit_store.hpp"

namespace nanobox {

/// The way of entries into the audit: they wait in memory until they are written, so that nobody waits for the disk.
/// Thread-safe.
class AuditTrail {
public:
  static constexpr std::size_t kMostWaiting = 10'000;

  AuditTrail(std::filesystem::path file, AuditRetention retention, std::size_t most_waiting = kMostWaiting)
      : file_(std::move(file)), retention_(retention), most_waiting_(most_waiting) {}

  /// Gives the entry its id and time. Never blocks: beyond `most_waiting` it is lost, and counted.
  void add(AuditEntry entry);
  /// Called when something waits that nothing waited before; must not block. Once, before the first entry.
  void on_waiting(std::function<void()> wake);

  /// Writes all that waits, and opens the file where it is not open. What could not be written goes on waiting. Blocks.
  Result<void> write();
  /// Deletes what is kept long enough. Blocks.
  Result<void> retire(WallTime now);
  /// Blocks. @errors as AuditStore
  Result<std::vector<AuditEntry>> find(const AuditQuery& query);

  /// How many entries were lost since this was last asked.
  std::uint64_t take_lost();
  std::size_t waiting() const;

private:
  Result<std::shared_ptr<AuditStore>> store();

  const std::filesystem::path file_;
  const AuditRetention retention_;
  const std::size_t most_waiting_;
  AscendingIds ids_{"au"};
  mutable std::mutex mutex_;
  std::deque<AuditEntry> entries_;
  std::function<void()> wake_;
  std::uint64_t lost_ = 0;
  std::mutex store_mutex_;
  std::shared_ptr<AuditStore> store_;
};

}  // namespace nanobox
