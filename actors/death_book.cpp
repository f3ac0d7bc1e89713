#include "actors/death_book.hpp"

#include <algorithm>

#include "pipeline/insight/console_lines.hpp"

namespace nanobox {

namespace {

/// What is kept of a console that is one too many.
constexpr std::size_t kShortConsole = 512;

}  // namespace

DeathBook::DeathBook(std::shared_ptr<RecordStore> store, std::string_view kind, Board<SandboxDeath>& board,
                     Limits limits)
    : store_(std::move(store)), kind_(kind), board_(board), limits_(limits) {}

Result<void> DeathBook::load() {
  order_.clear();
  with_console_.clear();
  console_bytes_ = 0;
  for (const auto& shown : board_.all()) board_.erase(shown->id);  // by whoever had the book before
  std::vector<SandboxDeath> deaths;
  std::vector<RecordChange> unreadable;
  for (const auto& record : NANOBOX_TRY(all_records(*store_, kind_))) {
    if (auto death = death_from_record(record.value); death && death->id == record.key)
      deaths.push_back(std::move(*death));
    else
      unreadable.push_back({.kind = kind_, .key = record.key, .expect = {}, .owner = {}, .value = {}});
  }
  NANOBOX_TRY(store_->commit(unreadable));
  std::ranges::sort(deaths, {}, &SandboxDeath::ended_at);
  for (auto& death : deaths) show(std::move(death));
  return expire(wall_now());
}

bool DeathBook::is_news(const SandboxDeath& death) const {
  const auto known = board_.find(death.id);
  if (!known || known->node_id != death.node_id) return true;
  // Told once more, one has the same, or less of its console.
  return known->cause == death.cause &&
         ((death.usage && known->usage != death.usage) || (known->console.empty() && !death.console.empty()));
}

RecordChange DeathBook::change_for(const SandboxDeath& death) const {
  return {.kind = kind_, .key = death.id, .expect = {}, .owner = death.owner, .value = death_to_record(death)};
}

void DeathBook::show(SandboxDeath death) {
  const auto before = board_.find(death.id);
  if (before) console_bytes_ -= std::min(console_bytes_, before->console.size());
  if (!before) order_.emplace_back(death.id, death.ended_at);
  if (death.console.size() > kShortConsole && (!before || before->console.size() <= kShortConsole))
    with_console_.push_back(death.id);
  console_bytes_ += death.console.size();
  const auto id = death.id;
  board_.publish(id, std::move(death));
  while (console_bytes_ > limits_.console_bytes && with_console_.size() > 1) {
    const auto oldest = board_.find(with_console_.front());
    with_console_.pop_front();
    if (!oldest) continue;
    SandboxDeath shorter = *oldest;
    shorter.console = last_console_lines(shorter.console, kShortConsole);
    console_bytes_ -= std::min(console_bytes_, oldest->console.size() - shorter.console.size());
    board_.publish(shorter.id, shorter);
  }
}

Result<void> DeathBook::expire(WallTime now) {
  std::vector<RecordChange> changes;
  const auto too_many = order_.size() - std::min(order_.size(), limits_.records);
  std::size_t count = 0;
  while (count < order_.size() && (count < too_many || order_[count].second + kDeathKept <= now))
    changes.push_back({.kind = kind_, .key = order_[count++].first, .expect = {}, .owner = {}, .value = {}});
  if (changes.empty()) return {};
  NANOBOX_TRY(store_->commit(changes));
  for (const auto& change : changes) {
    if (const auto gone = board_.find(change.key)) console_bytes_ -= std::min(console_bytes_, gone->console.size());
    std::erase(with_console_, change.key);
    board_.erase(change.key);
    order_.pop_front();
  }
  return {};
}

}  // namespace nanobox
