#pragma once

#include "actors/services.hpp"
#include "pipeline/cluster/node_report.hpp"

namespace nanobox {

/// What dies again and again, if anything does.
std::optional<Error> unsteady_concern(const Boards& boards);
/// Why the node cannot do its work now, if so.
std::optional<Error> node_problem(const Services& services);

/// What the node's caches take and what is free. Blocking: walks folders.
void measure_usage(const Services& services, NodeBeat& beat);
/// Whether the node can make sandboxes.
void judge_readiness(const Services& services, NodeBeat& beat);

/// What the node has to give.
NodeCapacity capacity_of(const Services& services);

}  // namespace nanobox
