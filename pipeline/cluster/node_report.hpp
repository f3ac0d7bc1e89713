#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/clock.hpp"
#include "pipeline/cluster/placement/node_view.hpp"
#include "pipeline/insight/concern_report.hpp"
#include "pipeline/insight/sandbox_death.hpp"
#include "pipeline/insight/template_usage.hpp"
#include "pipeline/pool.hpp"
#include "pipeline/run.hpp"
#include "pipeline/sandbox.hpp"
#include "pipeline/template.hpp"

namespace nanobox {

/// What both ends of a cluster's connections must agree on; a node of another number is refused.
inline constexpr std::uint32_t kClusterProtocol = 1;

/// What a node has to give.
struct NodeCapacity {
  std::uint32_t vcpu = 0;
  std::uint64_t memory_mb = 0;
  std::uint64_t disk_mb = 0;
  std::uint32_t addresses = 0;  ///< 0: none are needed, its VMs have no interface
  double vcpu_overcommit = 8.0;
  double disk_overcommit = 4.0;
  bool operator==(const NodeCapacity&) const = default;
};

/// How a node says who it is and what it holds, at each beginning of a connection.
struct NodeHello {
  std::string node_id;
  std::uint32_t protocol = kClusterProtocol;
  std::string version;      ///< of the program
  std::string incarnation;  ///< another one at each start of its daemon
  std::uint64_t epoch = 0;  ///< the highest that a control plane gave it
  std::string vmm;          ///< empty: none works there
  std::string machine;      ///< digest of what a saved state depends on: VMM, its version, CPU model and features
  std::string data_addr;    ///< "host:port" where other nodes get templates; empty: nowhere
  std::vector<std::string> subnet_parts;  ///< CIDR: where its sandboxes' addresses are from
  std::string overlay_addr;               ///< IPv4: where other nodes reach its sandboxes' networks; empty: nowhere
  NodeCapacity capacity;
  std::vector<Sandbox> sandboxes;
  std::vector<Template> templates;
  std::vector<PoolState> pools;
  std::vector<std::string> kept_states;  ///< saved states that it keeps for other nodes' sandboxes, by name
};

/// How a node fares.
struct NodeBeat {
  bool ready = true;
  std::string reason;  ///< why it is not
  std::uint64_t disk_free_mb = 0;
  std::uint64_t cache_bytes = 0;
  std::uint64_t snapshot_bytes = 0;
  std::uint64_t templates = 0;
  std::uint32_t addresses = 0;  ///< of its parts of the subnet, for sandboxes; 0: it gives none
  std::uint32_t addresses_free = 0;
  std::uint64_t channel_in_bytes = 0;  ///< from guests, since its daemon's start
  std::uint64_t channel_out_bytes = 0;
  std::vector<ConcernReport> concerns;
  std::vector<TemplateUsage> usage;
};

/// What changed on a node since it last told.
struct NodeNews {
  std::vector<Sandbox> sandboxes;
  std::vector<std::string> gone_sandboxes;
  std::vector<Template> templates;
  std::vector<std::string> gone_templates;  ///< template_key
  std::vector<RunRecord> runs;
  std::vector<PoolState> pools;
  std::vector<SandboxDeath> deaths;
  bool empty() const {
    return sandboxes.empty() && gone_sandboxes.empty() && templates.empty() && gone_templates.empty() && runs.empty() &&
           pools.empty() && deaths.empty();
  }
};

/// A node as the control plane knows it (api.md, Nodes).
struct NodeStatus {
  std::string node_id;
  NodeState state = NodeState::lost;
  std::string reason;
  bool cordoned = false;  ///< nothing new is placed there
  bool draining = false;  ///< cordoned, its pools empty; what runs is left until `drain_until`
  std::optional<WallTime> drain_until = {};
  std::uint64_t epoch = 0;  ///< of its latest connection
  std::string key_digest;   ///< of the key it joined with; empty: the control plane's own node
  std::string version;
  std::string vmm;
  std::string machine;
  std::string data_addr;
  std::vector<std::string> subnet_parts;  ///< CIDR, the first it got first; its own until it is removed
  std::string overlay_addr;               ///< as NodeHello
  NodeCapacity capacity;
  NodeBeat beat;
  std::vector<PoolState> pools;
  WallTime joined_at{};
  WallTime last_heartbeat_at{};
};

/// The store's form, and back: what must be known of a node that is away.
std::string to_record(const NodeStatus& node);
std::optional<NodeStatus> node_from_record(std::string_view json);

}  // namespace nanobox
