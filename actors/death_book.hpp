#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <utility>

#include "actors/boards.hpp"
#include "pipeline/store/record_store.hpp"

namespace nanobox {

/// So many records of ended sandboxes are kept.
inline constexpr std::size_t kDeathsKept = 10'000;
/// The consoles of all of them together, in memory; of the oldest beyond it only the end is kept, the whole in the
/// store.
inline constexpr std::size_t kDeathConsolesMax = std::size_t{16} << 20;

/// Keeps the records of sandboxes that ended, for an hour: on a board, and in a store, where a next daemon finds them.
/// One actor's. What takes a store blocks.
class DeathBook {
public:
  struct Limits {
    std::size_t records = kDeathsKept;
    std::size_t console_bytes = kDeathConsolesMax;
  };
  DeathBook(std::shared_ptr<RecordStore> store, std::string_view kind, Board<SandboxDeath>& board)
      : DeathBook(std::move(store), kind, board, Limits()) {}
  DeathBook(std::shared_ptr<RecordStore> store, std::string_view kind, Board<SandboxDeath>& board, Limits limits);

  /// Publishes what the store has. @errors store_failed
  Result<void> load();
  /// Whether it would be kept: of one sandbox the first record counts, which another of the same node and cause
  /// completes.
  bool is_news(const SandboxDeath& death) const;
  /// What the store is told of it, to be committed with other changes before `show`.
  RecordChange change_for(const SandboxDeath& death) const;
  /// On the board. What is beyond the limits goes at the next `expire`.
  void show(SandboxDeath death);
  /// Drops what is older than an hour, and the oldest beyond the limits. @errors store_failed: it is tried again
  Result<void> expire(WallTime now);

private:
  std::shared_ptr<RecordStore> store_;
  const std::string kind_;
  Board<SandboxDeath>& board_;
  const Limits limits_;
  std::deque<std::pair<std::string, WallTime>> order_;  ///< as they were shown
  std::deque<std::string> with_console_;                ///< likewise
  std::size_t console_bytes_ = 0;
};

}  // namespace nanobox
