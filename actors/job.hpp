#pragma once

#include <caf/behavior.hpp>
#include <caf/event_based_actor.hpp>
#include <chrono>
#include <exception>
#include <functional>

#include "actors/messages.hpp"

namespace nanobox {

/// Runs `work` on a thread of its own and asks it for its result: for work that blocks.
/// The returned handle is what `self->request` returns; the asker's deadline bounds the wait, not the work.
/// @param work  `Result<T>()`, T a message type
template <class Self, class Work>
auto request_job(Self* self, std::chrono::milliseconds deadline, Work work) {
  using T = typename std::invoke_result_t<Work>::value_type;
  using Job = caf::typed_actor<caf::replies_to<work_atom>::with<T>>;
  struct Body {
    static typename Job::behavior_type run(typename Job::pointer worker, Work work) {
      return {[worker, work = std::move(work)](work_atom) mutable -> caf::result<T> {
        worker->quit();
        try {
          return reply(work());
        } catch (const std::exception& error) {
          return to_caf(Error{.code = ErrorCode::internal,
                              .attempted = "do a stage's work",
                              .subject = "",
                              .reason = error.what(),
                              .mend = ""});
        }
      }};
    }
  };
  auto worker = self->template spawn<caf::detached>(&Body::run, std::move(work));
  return self->request(worker, deadline, work_atom_v);
}

}  // namespace nanobox
