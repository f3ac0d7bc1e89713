#include "pipeline/store/audit_trail.hpp"

#include <algorithm>
#include <utility>

namespace nanobox {

namespace {
constexpr std::size_t kBatch = 1'000;
}

void AuditTrail::add(AuditEntry entry) {
  std::function<void()> wake;
  {
    const std::lock_guard lock(mutex_);
    if (entries_.size() >= most_waiting_) {
      ++lost_;
      return;
    }
    // Under the lock: what is written later has the greater id.
    entry.id = ids_.next();
    entry.time = wall_now();
    if (entries_.empty()) wake = wake_;
    entries_.push_back(std::move(entry));
  }
  if (wake) wake();
}

void AuditTrail::on_waiting(std::function<void()> wake) {
  const std::lock_guard lock(mutex_);
  wake_ = std::move(wake);
}

Result<std::shared_ptr<AuditStore>> AuditTrail::store() {
  const std::lock_guard lock(store_mutex_);
  if (!store_) store_ = NANOBOX_TRY(AuditStore::open(file_));
  return store_;
}

Result<void> AuditTrail::write() {
  const auto to = NANOBOX_TRY(store());
  for (;;) {
    std::vector<AuditEntry> batch;
    {
      const std::lock_guard lock(mutex_);
      if (entries_.empty()) return {};
      const auto count = static_cast<std::ptrdiff_t>(std::min(entries_.size(), kBatch));
      batch.assign(entries_.begin(), entries_.begin() + count);
    }
    NANOBOX_TRY(to->add(batch));
    const std::lock_guard lock(mutex_);
    // Others only add behind them.
    entries_.erase(entries_.begin(), entries_.begin() + static_cast<std::ptrdiff_t>(batch.size()));
  }
}

Result<void> AuditTrail::retire(WallTime now) {
  NANOBOX_TRY(NANOBOX_TRY(store())->retire(retention_, now));
  return {};
}

Result<std::vector<AuditEntry>> AuditTrail::find(const AuditQuery& query) {
  return NANOBOX_TRY(store())->find(query);
}

std::uint64_t AuditTrail::take_lost() {
  const std::lock_guard lock(mutex_);
  return std::exchange(lost_, 0);
}

std::size_t AuditTrail::waiting() const {
  const std::lock_guard lock(mutex_);
  return entries_.size();
}

}  // namespace nanobox
