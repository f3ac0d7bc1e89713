#pragma once

#include <deque>
#include <functional>
#include <map>
#include <stop_token>
#include <string>

#include "actors/calls.hpp"
#include "actors/job.hpp"

namespace nanobox {

/// A concern's bounded workers: at most `limit` jobs at once, each on a thread of its own, cancelled by run id.
struct StageWorkers {
  std::size_t limit = 2;
  std::size_t busy = 0;
  std::deque<std::function<void()>> waiting;
  std::multimap<std::string, std::stop_source> stops;

  void cancel(const std::string& run_id) {
    const auto [first, last] = stops.equal_range(run_id);
    for (auto it = first; it != last; ++it) it->second.request_stop();
  }
  void finished() {
    --busy;
    if (waiting.empty()) return;
    auto next = std::move(waiting.front());
    waiting.pop_front();
    next();
  }
};

/// Reports at most every `kProgressInterval`, and always when a stage's bytes are complete.
inline std::function<void(const StageProgress&)> progress_to(const ProgressSink& sink, std::string stage) {
  constexpr std::chrono::milliseconds kProgressInterval{100};
  struct Throttle {
    std::mutex mutex;
    std::chrono::steady_clock::time_point next{};
  };
  return [sink, stage = std::move(stage), throttle = std::make_shared<Throttle>(),
          kProgressInterval](const StageProgress& progress) {
    {
      const std::lock_guard lock(throttle->mutex);
      const auto now = std::chrono::steady_clock::now();
      const bool complete = progress.total_bytes != 0 && progress.done_bytes >= progress.total_bytes;
      if (now < throttle->next && !complete) return;
      throttle->next = now + kProgressInterval;
    }
    caf::anon_send(sink, progress_atom_v, stage, progress);
  };
}

/// Answers with what `work(StageContext)` returns, run on a worker once one is free.
/// `keep_stop`: the work goes on in the background after its answer and stays cancellable until `forget_run`.
template <class T, class Self, class Work>
caf::result<T> run_on_worker(Self* self, const WarmupCall& call, std::string stage, std::chrono::milliseconds deadline,
                             Work work) {
  auto promise = self->template make_response_promise<T>();
  const auto stop = self->state.workers.stops.emplace(call.run_id, std::stop_source())->second;
  StageContext context{.report = progress_to(call.progress, std::move(stage)),
                       .stop = stop.get_token(),
                       .deadline = std::chrono::steady_clock::now() + deadline};
  auto start = [self, promise, context, work, deadline, run_id = call.run_id]() mutable {
    ++self->state.workers.busy;
    request_job(self, deadline,
                [work, context]() mutable -> Result<T> {
                  NANOBOX_TRY(context.check("start a stage"));
                  return work(context);
                })
        .then(
            [self, promise](T& value) mutable {
              self->state.workers.finished();
              promise.deliver(std::move(value));
            },
            [self, promise](caf::error& error) mutable {
              self->state.workers.finished();
              promise.deliver(error);
            });
  };
  if (self->state.workers.busy < self->state.workers.limit)
    start();
  else
    self->state.workers.waiting.push_back(std::move(start));
  return promise;
}

}  // namespace nanobox
