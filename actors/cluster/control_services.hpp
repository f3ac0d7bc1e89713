#pragma once

#include <memory>
#include <string>

#include "actors/boards.hpp"
#include "config/ipv4_subnet.hpp"
#include "pipeline/store/record_store.hpp"

namespace nanobox {

class EventRing;

/// What the control plane's actors share. Constant once set up; the parts guard themselves.
struct ControlServices {
  std::string version;                  ///< of the program
  std::string local_node_id;            ///< the node in the same process; empty: none
  Ipv4Subnet subnet;                    ///< of all nodes together
  std::uint64_t snapshot_replicas = 0;  ///< copies of each paused sandbox' state that other nodes are to have
  std::shared_ptr<RecordStore> store;
  std::shared_ptr<Boards> boards;     ///< of the whole cluster
  std::shared_ptr<EventRing> events;  ///< what happened in it
  /// By template_key: the node that was asked to make its next version, until it says that it does.
  std::shared_ptr<Board<std::string>> template_makers = std::make_shared<Board<std::string>>();
};
using SharedControl = std::shared_ptr<const ControlServices>;

inline constexpr std::string_view kNodeKind = "node";
inline constexpr std::string_view kPlacedSandboxKind = "placed_sandbox";

}  // namespace nanobox
