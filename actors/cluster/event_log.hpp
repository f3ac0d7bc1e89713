#pragma once

#include <caf/event_based_actor.hpp>
#include <caf/stateful_actor.hpp>
#include <memory>

#include "actors/cluster/concerns.hpp"
#include "actors/cluster/control_services.hpp"
#include "pipeline/events/change_log.hpp"
#include "pipeline/events/event_ring.hpp"

namespace nanobox {

/// A value that was published, or that its key is gone.
template <class T>
struct BoardChange {
  std::string key;
  typename Board<T>::Value value;
};

}  // namespace nanobox

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(nanobox::BoardChange<nanobox::Sandbox>)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(nanobox::BoardChange<nanobox::SandboxDeath>)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(nanobox::BoardChange<nanobox::Template>)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(nanobox::BoardChange<nanobox::RunRecord>)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(nanobox::BoardChange<nanobox::NodeStatus>)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(nanobox::BoardChange<nanobox::ConcernHealth>)

namespace nanobox {

struct EventLogState {
  static inline const char* name = "event_log";
  SharedControl control;
  std::shared_ptr<ChangeLog> changes;
  bool ticking = false;
  bool caught_up = false;  ///< what was told before it began has been dealt with
  Board<Sandbox>::Watch sandboxes;
  Board<SandboxDeath>::Watch deaths;
  Board<Template>::Watch templates;
  Board<RunRecord>::Watch runs;
  Board<NodeStatus>::Watch nodes;
  Board<ConcernHealth>::Watch concerns;
};

/// Makes events of what changes on the control plane's boards, and lines of the log of those and of failed runs. What
/// it told last outlives it in `changes`, so that one that is started anew tells what changed meanwhile, and nothing
/// twice.
caf::behavior event_log(caf::stateful_actor<EventLogState>* self, SharedControl control,
                        std::shared_ptr<ChangeLog> changes);

}  // namespace nanobox
