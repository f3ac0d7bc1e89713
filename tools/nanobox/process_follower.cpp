#include "tools/nanobox/process_follower.hpp"

#include <unistd.h>

#include <algorithm>

#include "tools/nanobox/command.hpp"
#include "tools/nanobox/json.hpp"
#include "tools/nanobox/output.hpp"
#include "tools/nanobox/process_output.hpp"
#include "tools/nanobox/sandbox_calls.hpp"
#include "tools/nanobox/stdin_sender.hpp"

namespace nanobox::cli {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

/// With pauses that double, half a minute: a server that was started anew answers again by then.
constexpr int kMostAttempts = 8;
constexpr milliseconds kFirstPause{200};

bool may_pass(const Error& error) {
  return error.transient || error.code == ErrorCode::not_ready || error.code == ErrorCode::shutting_down;
}

/// One connection after the other, until the process has ended.
class Follower {
public:
  Follower(ApiClient& client, const Followed& followed)
      : client_(client),
        followed_(followed),
        output_(*client.loop().interruption()),
        next_tick_(Clock::now() + followed.tick_every) {}

  Result<int> run() {
    auto request = followed_.request;
    auto pause = kFirstPause;
    for (int attempt = 1;; ++attempt) {
      const auto before = output_.last_id();
      auto ended = follow_one(request);
      const bool broke = !ended && may_pass(ended.error());
      if (!broke || followed_.resume_path.empty()) return ended;
      if (output_.last_id() != before) attempt = 1, pause = kFirstPause;
      if (attempt >= kMostAttempts) return ended;
      NANOBOX_TRY(pass(pause));
      pause *= 2;
      if (!output_.last_id().empty()) request.path = followed_.resume_path + output_.last_id();
    }
  }

private:
  Result<int> follow_one(const ApiRequest& request) {
    Transfer transfer(client_.loop(), request);
    while (!transfer.has_head() && !transfer.ended()) NANOBOX_TRY(turn());
    NANOBOX_TRY(transfer.await_head());
    if (!transfer.answer().succeeded()) return fail(error_of(NANOBOX_TRY(transfer.collect()), request));
    if (!transfer.answer().content_type.starts_with("text/event-stream"))
      return fail({.code = ErrorCode::io_failed,
                   .attempted = request.method + " " + request.path,
                   .subject = "",
                   .reason = "the server does not stream",
                   .mend = "use a nanoboxd of the version of this nanobox"});
    EventStream events;
    for (;;) {
      const auto bytes = transfer.take();
      for (const auto& event : events.take(bytes))
        if (!NANOBOX_TRY(output_.take(event))) return *output_.exit_code();
      if (bytes.empty() && transfer.ended()) break;
      if (bytes.empty()) NANOBOX_TRY(turn());
    }
    if (followed_.is_log && transfer.outcome()) return 0;
    return fail({.code = ErrorCode::io_failed,
                 .attempted = "follow output",
                 .subject = "",
                 .reason = transfer.outcome() ? "the server ended it early" : transfer.outcome().error().reason,
                 .mend = "",
                 .transient = true});
  }

  Result<void> turn(milliseconds at_most = milliseconds{1000}) {
    if (followed_.tick) {
      if (Clock::now() >= next_tick_) {
        followed_.tick();
        next_tick_ = Clock::now() + followed_.tick_every;
      }
      at_most = std::clamp(std::chrono::ceil<milliseconds>(next_tick_ - Clock::now()), milliseconds{0}, at_most);
    }
    if (followed_.sends_stdin && !sender_) {
      const auto& id = followed_.process_id.empty() ? output_.process_id() : followed_.process_id;
      if (!id.empty()) sender_.emplace(client_.loop(), process_path(followed_.sandbox_id, id));
    }
    auto waiting = sender_ ? sender_->waits_for() : std::nullopt;
    NANOBOX_TRY(client_.loop().turn(waiting ? std::span(&*waiting, 1) : std::span<curl_waitfd>{}, at_most));
    if (sender_) NANOBOX_TRY(sender_->go_on(waiting && waiting->revents != 0));
    return {};
  }

  Result<void> pass(milliseconds pause) {
    const auto until = Clock::now() + pause;
    while (Clock::now() < until) NANOBOX_TRY(turn(std::chrono::ceil<milliseconds>(until - Clock::now())));
    return {};
  }

  ApiClient& client_;
  const Followed& followed_;
  ProcessOutput output_;
  std::optional<StdinSender> sender_;
  Clock::time_point next_tick_;
};

}  // namespace

Result<int> follow(ApiClient& client, const Followed& followed) {
  return Follower(client, followed).run();
}

std::string process_path(const std::string& sandbox_id, const std::string& process_id) {
  return sandbox_path(sandbox_id) + "/processes/" + url_encode(process_id);
}

}  // namespace nanobox::cli
