#pragma once

#include <caf/actor.hpp>
#include <caf/actor_cast.hpp>
#include <caf/actor_system.hpp>
#include <caf/event_based_actor.hpp>
#include <caf/stateful_actor.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "actors/boards.hpp"

namespace nanobox {

/// How long a concern that died is waited with: doubled with each death within `window`.
struct RestartPolicy {
  std::chrono::milliseconds first_back_off{100};
  std::chrono::milliseconds longest_back_off{10'000};
  std::chrono::milliseconds window{60'000};
  std::size_t unsteady_deaths = 5;  ///< so many within the window, and the node says that it is not ready
};

/// Starts a concern's actor, at first and after each death; on the supervisor's thread.
using StartConcern = std::function<caf::actor(caf::actor_system&)>;

struct SupervisorState {
  static inline const char* name = "supervisor";
  StartConcern start;
  RestartPolicy policy;
  std::shared_ptr<Boards> boards;
  ConcernHealth health;
  std::shared_ptr<ConcernGauge> gauge;
  caf::actor child;  ///< null between a death and the new start
  /// The question on its way by which the child's mailbox is measured, and what the child had been handed before.
  struct Probe {
    std::chrono::steady_clock::time_point sent;
    std::uint64_t handed = 0;
  };
  std::optional<Probe> probe;
};

/// Stands for a concern and outlives its actor: hands every message on, starts the actor anew when it dies. A request
/// that comes meanwhile, or that died with the actor, fails with a transient error. Ends with its actor when told to
/// exit. Measures how long messages wait for it, and how many: what it was handed behind a question that any actor
/// answers in its turn.
caf::behavior supervisor(caf::stateful_actor<SupervisorState>* self, std::string concern, StartConcern start,
                         std::shared_ptr<Boards> boards, RestartPolicy policy);

/// A supervised concern, as its typed handle. `start` answers the typed actor's handle.
/// `Options`: caf::detached where starting it may block.
template <caf::spawn_options Options = caf::no_spawn_options, class Start>
auto supervise(caf::actor_system& system, std::string concern, std::shared_ptr<Boards> boards, Start start,
               RestartPolicy policy = {}) {
  using Handle = std::invoke_result_t<Start, caf::actor_system&>;
  StartConcern untyped = [start = std::move(start)](caf::actor_system& on) mutable {
    return caf::actor_cast<caf::actor>(start(on));
  };
  return caf::actor_cast<Handle>(
      system.spawn<Options>(supervisor, std::move(concern), std::move(untyped), std::move(boards), policy));
}

}  // namespace nanobox
