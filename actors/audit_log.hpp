#pragma once

#include <caf/event_based_actor.hpp>
#include <caf/stateful_actor.hpp>
#include <memory>

#include "actors/messages.hpp"
#include "pipeline/events/event_ring.hpp"
#include "pipeline/store/audit_trail.hpp"

namespace nanobox {

struct AuditLogState {
  static inline const char* name = "audit_log";
  std::shared_ptr<AuditTrail> trail;
  std::shared_ptr<EventRing> events;
  bool failing = false;
  bool writing = false;  ///< a write is due
  std::size_t written = 0;
};

/// Writes what waits for the audit, a moment after the first of it came, and all of it before it ends. Where that fails
/// it tries again, and says so by the events audit.failed and audit.resumed. Detached: it waits for the disk.
caf::behavior audit_log(caf::stateful_actor<AuditLogState>* self, std::shared_ptr<AuditTrail> trail,
                        std::shared_ptr<EventRing> events);

}  // namespace nanobox
