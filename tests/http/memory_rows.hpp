#pragma once

#include <map>
#include <mutex>
#include <string>

#include "pipeline/store/idempotency_store.hpp"

namespace nanobox::test {

/// The store's contract in memory.
class MemoryRows final : public IdempotencyStore {
public:
  struct Row {
    std::string digest;
    bool done = false;
    bool interrupted = false;
    std::string subject = {};
    std::optional<KeptAnswer> answer = {};
  };

  Result<IdempotencyStart> start(const IdempotencyScope& scope, std::string_view digest, WallTime,
                                 std::chrono::milliseconds) override {
    const std::lock_guard lock(mutex_);
    auto [at, fresh] = rows_.try_emplace(name(scope), Row{.digest = std::string(digest)});
    auto& row = at->second;
    if (fresh) return idempotency::Fresh{};
    if (row.digest != digest)
      return fail(
          {.code = ErrorCode::idempotency_key_reused, .attempted = "x", .subject = {}, .reason = "x", .mend = {}});
    if (row.done) return idempotency::Answered{row.answer};
    if (std::exchange(row.interrupted, false)) return idempotency::Interrupted{row.subject};
    return idempotency::InFlight{};
  }
  Result<void> note_subject(const IdempotencyScope& scope, std::string_view subject) override {
    const std::lock_guard lock(mutex_);
    rows_[name(scope)].subject = subject;
    return {};
  }
  Result<void> finish(const IdempotencyScope& scope, const std::optional<KeptAnswer>& answer,
                      std::optional<WallTime>) override {
    const std::lock_guard lock(mutex_);
    rows_[name(scope)].done = true;
    rows_[name(scope)].answer = answer;
    return {};
  }
  Result<void> abandon(const IdempotencyScope& scope) override {
    const std::lock_guard lock(mutex_);
    rows_.erase(name(scope));
    return {};
  }
  Result<std::size_t> expire_rows(WallTime) override { return std::size_t{0}; }

  std::map<std::string, Row> rows() const {
    const std::lock_guard lock(mutex_);
    return rows_;
  }
  void interrupt_all() {
    const std::lock_guard lock(mutex_);
    for (auto& [unused, row] : rows_) row.interrupted = true;
  }

private:
  static std::string name(const IdempotencyScope& scope) {
    return scope.owner + "|" + scope.method + "|" + scope.path + "|" + scope.key;
  }
  mutable std::mutex mutex_;
  std::map<std::string, Row> rows_;
};

}  // namespace nanobox::test
