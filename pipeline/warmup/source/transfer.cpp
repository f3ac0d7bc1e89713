#include "pipeline/warmup/source/transfer.hpp"

#include <algorithm>
#include <array>
#include <exception>

namespace nanobox {

namespace {

using namespace std::chrono_literals;

constexpr std::array kPauses = {500ms, 1000ms, 2000ms};  ///< before the second, third and fourth try
constexpr std::chrono::seconds kLongestRetryAfter{60};
constexpr std::uint64_t kProgressBytes = 1U << 20;  ///< so much between two cuts, and the tries are counted anew
constexpr auto kReportInterval = 100ms;

}  // namespace

bool Transfer::join(const void* who, Client client) {
  const std::lock_guard lock(mutex_);
  if (state_ == State::ended || stop_.stop_requested()) return false;
  deadline_ = std::max(deadline_, client.deadline);
  sources_.push_back(client.source);
  clients_.emplace_back(who, std::move(client));
  return true;
}

void Transfer::leave(const void* who) {
  const std::lock_guard lock(mutex_);
  std::erase_if(clients_, [&](const auto& entry) { return entry.first == who; });
  if (clients_.empty()) stop_locked();
}

void Transfer::stop() {
  const std::lock_guard lock(mutex_);
  stop_locked();
}

void Transfer::stop_locked() {
  stop_.request_stop();
  if (state_ != State::waiting) return;
  state_ = State::ended;
  conclude(fail({.code = ErrorCode::cancelled,
                 .attempted = "fetch blob",
                 .subject = descriptor_.digest,
                 .reason = "it was cancelled",
                 .mend = ""}),
           !abandoned_);
}

bool Transfer::abandon() {
  const std::lock_guard lock(mutex_);
  if (!clients_.empty()) return false;
  abandoned_ = true;
  stop_locked();
  return true;
}

bool Transfer::ended() const {
  const std::lock_guard lock(mutex_);
  return state_ == State::ended;
}

StageContext Transfer::context() const {
  StageContext context;
  context.stop = stop_.get_token();
  const std::lock_guard lock(mutex_);
  context.deadline = deadline_;
  return context;
}

std::shared_ptr<ImageSource> Transfer::source(std::size_t index) const {
  const std::lock_guard lock(mutex_);
  return index < sources_.size() ? sources_[index] : nullptr;
}

void Transfer::progressed(bool at_once) {
  const auto now = std::chrono::steady_clock::now();
  if (!at_once && now - last_report_ < kReportInterval) return;
  last_report_ = now;
  std::vector<std::function<void()>> listeners;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [who, client] : clients_) listeners.push_back(client.progressed);
  }
  for (const auto& listener : listeners) listener();
}

Result<void> Transfer::wait(std::chrono::milliseconds pause) {
  std::mutex unshared;
  std::unique_lock lock(unshared);
  pause_.wait_for(lock, stop_.get_token(), pause, [] { return false; });
  return context().check("fetch blob");
}

Result<void> Transfer::read_from(ImageSource& source) {
  unsigned failures = 0;
  auto mark = part_.written();
  while (true) {
    auto read =
        source.read_blob(context(), descriptor_, part_.written(), [this](std::string_view bytes) -> Result<void> {
          NANOBOX_TRY(part_.append(bytes));
          arrival_->advance(part_.written());
          progressed(false);
          return {};
        });
    if (read && part_.written() == descriptor_.size) return {};
    auto error = read ? Error{.code = ErrorCode::blob_truncated,
                              .attempted = "fetch blob",
                              .subject = descriptor_.digest,
                              .reason = "only " + std::to_string(part_.written()) + " of " +
                                        std::to_string(descriptor_.size) + " bytes came",
                              .mend = "try again; if it stays so, the image is damaged at its source",
                              .transient = true}
                      : std::move(read).error();
    if (!error.transient || error.code == ErrorCode::deadline_exceeded) return fail(std::move(error));
    if (part_.written() - mark >= kProgressBytes) failures = 0;
    mark = part_.written();
    const std::chrono::seconds asked(error.retry_after_sec);
    if (failures == kPauses.size() || asked > kLongestRetryAfter) return fail(std::move(error));
    NANOBOX_TRY(wait(std::max<std::chrono::milliseconds>(kPauses[failures++], asked)));
  }
}

Result<void> Transfer::fetch() {
  NANOBOX_TRY(part_.rehash(context(), [this](std::uint64_t bytes) { arrival_->advance(bytes); }));
  // Another image's source may be allowed what this one is not, or reach what this one does not.
  static constexpr std::array another_may_help = {ErrorCode::registry_unauthorized, ErrorCode::registry_forbidden,
                                                  ErrorCode::registry_rate_limited, ErrorCode::registry_unreachable,
                                                  ErrorCode::registry_failed,       ErrorCode::image_not_found,
                                                  ErrorCode::blob_truncated,        ErrorCode::file_unreadable};
  for (std::size_t i = 0; part_.written() < descriptor_.size; ++i) {
    auto read = read_from(*source(i));
    if (read) break;
    const bool go_on =
        std::find(another_may_help.begin(), another_may_help.end(), read.error().code) != another_may_help.end();
    if (!go_on || !source(i + 1)) return read;
  }
  return part_.publish();
}

/// The part file's fate first, then the arrival's: whoever waits for it may open the file anew.
void Transfer::conclude(Result<void> outcome, bool later_try) {
  if (outcome) return arrival_->complete();
  const auto& error = outcome.error();
  const bool interrupted =
      error.code == ErrorCode::cancelled || error.code == ErrorCode::deadline_exceeded || error.transient;
  const bool worth_keeping = later_try && interrupted && error.code != ErrorCode::digest_mismatch && !part_.empty();
  if (!worth_keeping) part_.discard();
  arrival_->fail_with(std::move(outcome).error());
}

void Transfer::run() {
  {
    const std::lock_guard lock(mutex_);
    if (state_ != State::waiting) return;
    state_ = State::running;
  }
  Result<void> outcome;
  try {
    outcome = fetch();
  } catch (const std::exception& problem) {
    outcome = fail({.code = ErrorCode::internal,
                    .attempted = "fetch blob",
                    .subject = descriptor_.digest,
                    .reason = problem.what(),
                    .mend = ""});
  }
  bool later_try = true;
  {
    const std::lock_guard lock(mutex_);
    state_ = State::ended;
    later_try = !abandoned_;
  }
  conclude(std::move(outcome), later_try);
  progressed(true);
}

}  // namespace nanobox
