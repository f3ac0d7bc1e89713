#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <random>

#include "actors/cluster/concerns.hpp"
#include "actors/node.hpp"
#include "pipeline/insight/vmm_meter.hpp"

namespace nanobox {

/// How a node reaches its control plane.
struct ControlPlaneDoor {
  /// Blocking, with a deadline of its own. @errors connection_failed · peer_untrusted · …
  std::function<Result<NodeDoorActor>()> open;
  /// Proves who the node is to a door that asked with that challenge.
  std::function<Result<std::string>(const std::string& challenge)> prove;
  /// The node leaves for good; may be empty.
  std::function<void()> close = {};
};

struct NodeLinkState {
  static inline const char* name = "node_link";
  Node node;
  Fetchers fetchers;
  ControlPlaneDoor door;
  NodeHello self_description;  ///< but for what the node holds
  std::optional<NodeFaceActor> face;
  std::optional<NodeInboxActor> inbox;  ///< while connected
  NodeNews waiting;
  bool flushing = false;
  std::chrono::milliseconds back_off{};
  std::minstd_rand jitter;
  Board<Sandbox>::Watch sandboxes;
  Board<Template>::Watch templates;
  Board<RunRecord>::Watch runs;
  Board<PoolState>::Watch pools;
  Board<SandboxDeath>::Watch deaths;
  std::uint64_t beats = 0;
  bool beating = false;  ///< the next beat is on its way
  NodeBeat last_beat;
  std::map<std::string, std::string> open_runs;  ///< the pipeline of each that has not ended, by its id
  std::shared_ptr<VmmMeter> meter = std::make_shared<VmmMeter>();
  bool metering = false;            ///< a measurement is at work, on a thread of its own
  std::vector<SandboxDeath> ended;  ///< since the last measurement
};

/// A node's connection to its control plane: made anew when it breaks, first at once, then with growing pauses.
using NodeLinkActor = caf::typed_actor<
    // INTERNAL: connect · what changed on the boards · tell it · say that all is well
    caf::reacts_to<tick_atom>, caf::reacts_to<news_atom, NodeNews>, caf::replies_to<flush_atom>::with<void>,
    caf::reacts_to<beat_atom>>;

/// Detached: connecting blocks.
NodeLinkActor::behavior_type node_link(NodeLinkActor::stateful_pointer<NodeLinkState> self, Node node,
                                       Fetchers fetchers, ControlPlaneDoor door, NodeHello description);

}  // namespace nanobox
