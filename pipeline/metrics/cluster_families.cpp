#include "pipeline/metrics/cluster_families.hpp"

#include <map>

#include "pipeline/metrics/family.hpp"

namespace nanobox {

namespace {

using Family = prometheus::MetricFamily;
constexpr double kMiB = 1 << 20;

/// What sandboxes hold of a node; paused ones of its disk only.
struct Held {
  std::uint64_t sandboxes = 0, vcpus = 0, memory_mb = 0, disk_mb = 0;
};

std::map<std::string, Held> held_by_node(const ClusterNow& now) {
  std::map<std::string, Held> nodes;
  for (const auto& sandbox : now.sandboxes) {
    if (sandbox->status == SandboxStatus::failed) continue;
    auto& held = nodes[sandbox->node_id];
    ++held.sandboxes;
    held.disk_mb += sandbox->resources.disk_mb;
    if (sandbox->status == SandboxStatus::paused) continue;
    held.vcpus += sandbox->resources.vcpu;
    held.memory_mb += sandbox->resources.memory_mb;
  }
  return nodes;
}

/// How many are in each of the states, those without any included. The enumerations begin with 1.
template <class State, class Values, class StateOf>
Family by_state(Family family, const char* label, State last, const Values& values, StateOf state_of) {
  std::map<State, std::uint64_t> counts;
  for (const auto& value : values) ++counts[state_of(*value)];
  for (int state = 1; state <= static_cast<int>(last); ++state)
    add_value(family, {{label, std::string(to_string(static_cast<State>(state)))}},
              static_cast<double>(counts[static_cast<State>(state)]));
  return family;
}

/// Families with one value a node.
class PerNode {
public:
  explicit PerNode(const ClusterNow& now) : held_(held_by_node(now)) {}

  void add(const NodeStatus& node) {
    const auto& [capacity, beat] = std::tie(node.capacity, node.beat);
    const auto set = [&](Family& family, double value) { add_value(family, {{"node", node.node_id}}, value); };
    const auto& held = held_[node.node_id];
    set(sandboxes_, static_cast<double>(held.sandboxes));
    set(vcpus_, capacity.vcpu);
    set(vcpus_held_, static_cast<double>(held.vcpus));
    set(memory_, static_cast<double>(capacity.memory_mb) * kMiB);
    set(memory_held_, static_cast<double>(held.memory_mb) * kMiB);
    set(disk_, static_cast<double>(capacity.disk_mb) * kMiB);
    set(disk_held_, static_cast<double>(held.disk_mb) * kMiB);
    set(disk_free_, static_cast<double>(beat.disk_free_mb) * kMiB);
    set(heartbeat_, static_cast<double>(node.last_heartbeat_at.time_since_epoch().count()) / 1e3);
    set(cache_, static_cast<double>(beat.cache_bytes));
    set(snapshots_, static_cast<double>(beat.snapshot_bytes));
    set(addresses_, beat.addresses);
    set(addresses_free_, beat.addresses_free);
    add_value(channel_, {{"node", node.node_id}, {"direction", "in"}}, static_cast<double>(beat.channel_in_bytes));
    add_value(channel_, {{"node", node.node_id}, {"direction", "out"}}, static_cast<double>(beat.channel_out_bytes));
  }

  void take(std::vector<Family>& into) && {
    for (auto* family : {&sandboxes_, &vcpus_, &vcpus_held_, &memory_, &memory_held_, &disk_, &disk_held_, &disk_free_,
                         &heartbeat_, &cache_, &snapshots_, &addresses_, &addresses_free_, &channel_})
      into.push_back(std::move(*family));
  }

private:
  std::map<std::string, Held> held_;
  Family sandboxes_ = gauge_family("nanobox_node_sandboxes", "Sandboxes of a node, failed ones left out.");
  Family vcpus_ = gauge_family("nanobox_node_vcpus", "Processors of a node.");
  Family vcpus_held_ = gauge_family("nanobox_node_vcpus_held", "Processors that a node's sandboxes were promised.");
  Family memory_ = gauge_family("nanobox_node_memory_bytes", "Memory that a node has for guests.");
  Family memory_held_ = gauge_family("nanobox_node_memory_held_bytes", "Memory that a node's sandboxes were promised.");
  Family disk_ = gauge_family("nanobox_node_disk_bytes", "Size of the disk that a node's sandboxes are on.");
  Family disk_held_ = gauge_family("nanobox_node_disk_held_bytes", "Disk that a node's sandboxes were promised.");
  Family disk_free_ = gauge_family("nanobox_node_disk_free_bytes", "What is free of that disk.");
  Family heartbeat_ =
      gauge_family("nanobox_node_heartbeat_timestamp_seconds", "When a node was last heard of, since the epoch.");
  Family cache_ = gauge_family("nanobox_image_cache_bytes", "Layers of images that a node keeps.");
  Family snapshots_ = gauge_family("nanobox_snapshot_bytes", "What snapshots and paused sandboxes take on a node.");
  Family addresses_ = gauge_family("nanobox_addresses", "Addresses of a node's parts of the subnet.");
  Family addresses_free_ = gauge_family("nanobox_addresses_free", "Of them, those that no sandbox has.");
  Family channel_ = counter_family("nanobox_channel_bytes_total", "Bytes of the channels between a node and guests.");
};

/// Families with a value for each template of a node.
class PerTemplate {
public:
  void add(const NodeStatus& node, BoundedNames& names) {
    struct Pool {
      double ready = 0, min = 0, max = 0;
    };
    struct Usage {
      double vms = 0, pss = 0, cpu = 0;
    };
    std::map<std::string, Pool> pools;
    for (const auto& pool : node.pools) {
      auto& sum = pools[names(pool.template_name)];
      sum.ready += pool.ready;
      sum.min += pool.min_ready;
      sum.max += pool.max_ready;
    }
    std::map<std::string, Usage> usages;
    for (const auto& usage : node.beat.usage) {
      auto& sum = usages[usage.template_name.empty() ? "none" : names(usage.template_name)];
      sum.vms += static_cast<double>(usage.vms);
      sum.pss += static_cast<double>(usage.pss_bytes);
      sum.cpu += static_cast<double>(usage.cpu_us) / 1e6;
    }
    for (const auto& [name, pool] : pools) {
      add_value(ready_, {{"node", node.node_id}, {"template", name}}, pool.ready);
      add_value(min_, {{"node", node.node_id}, {"template", name}}, pool.min);
      add_value(max_, {{"node", node.node_id}, {"template", name}}, pool.max);
    }
    for (const auto& [name, usage] : usages) {
      add_value(vmms_, {{"node", node.node_id}, {"template", name}}, usage.vms);
      add_value(pss_, {{"node", node.node_id}, {"template", name}}, usage.pss);
      add_value(cpu_, {{"node", node.node_id}, {"template", name}}, usage.cpu);
    }
  }

  void take(std::vector<Family>& into) && {
    for (auto* family : {&ready_, &min_, &max_, &vmms_, &pss_, &cpu_}) into.push_back(std::move(*family));
  }

private:
  Family ready_ = gauge_family("nanobox_pool_ready", "VMs that wait in a warm pool.");
  Family min_ = gauge_family("nanobox_pool_min_ready", "VMs that are to wait in it.");
  Family max_ = gauge_family("nanobox_pool_max_ready", "VMs that may wait in it at most.");
  Family vmms_ = gauge_family("nanobox_vmms", "VMM processes, by template (none: in stock, for any).");
  Family pss_ = gauge_family("nanobox_vmm_pss_bytes", "Memory of VMMs, what is shared divided among those that share.");
  Family cpu_ = counter_family("nanobox_vmm_cpu_seconds_total", "Processor time of VMMs, of those that ended too.");
};

/// Families with a value for each concern of a node, or of the control plane.
class PerConcern {
public:
  void add(const std::string& node, const std::vector<ConcernReport>& reports, BoundedNames& names) {
    // Names are a node's word: no two values of a family may have the same labels.
    std::map<std::string, ConcernReport> known;
    for (const auto& report : reports) known.insert_or_assign(names(report.concern), report);
    for (const auto& [name, report] : known) {
      const auto set = [&, concern = name](Family& family, double value) {
        add_value(family, {{"node", node}, {"concern", concern}}, value);
      };
      set(actors_, static_cast<double>(report.count));
      if (!report.parent.empty()) continue;  // many of a kind: nobody measures them
      set(mailbox_, static_cast<double>(report.mailbox));
      set(wait_, static_cast<double>(report.wait_us) / 1e6);
      set(handled_, static_cast<double>(report.handled));
      set(restarts_, static_cast<double>(report.restarts));
      set(unsteady_, report.unsteady ? 1 : 0);
    }
  }

  void take(std::vector<Family>& into) && {
    for (auto* family : {&actors_, &mailbox_, &wait_, &handled_, &restarts_, &unsteady_})
      into.push_back(std::move(*family));
  }

private:
  Family actors_ = gauge_family("nanobox_actors", "Actors of a concern.");
  Family mailbox_ = gauge_family("nanobox_actor_mailbox_messages", "Messages that wait for a concern's actor.");
  Family wait_ = gauge_family("nanobox_actor_wait_seconds", "How long the last message that was measured waited.");
  Family handled_ = counter_family("nanobox_actor_messages_total", "Messages that a concern's actor was done with.");
  Family restarts_ = counter_family("nanobox_actor_restarts_total", "How often a concern's actor died.");
  Family unsteady_ = gauge_family("nanobox_actor_unsteady", "1: it died often, lately.");
};

}  // namespace

std::vector<Family> cluster_families(const ClusterNow& now, ClusterNames& names) {
  std::vector<Family> families;
  families.push_back(by_state(gauge_family("nanobox_sandboxes", "Sandboxes, by status."), "status", SandboxStatus::lost,
                              now.sandboxes, [](const auto& sandbox) { return sandbox.status; }));
  families.push_back(by_state(gauge_family("nanobox_templates", "Templates, by status."), "status",
                              TemplateStatus::failed, now.templates, [](const auto& entry) { return entry.status; }));
  families.push_back(by_state(gauge_family("nanobox_nodes", "Nodes, by state."), "state", NodeState::lost, now.nodes,
                              [](const auto& node) { return node.state; }));
  PerNode per_node(now);
  PerTemplate per_template;
  PerConcern per_concern;
  per_concern.add("control", now.control_concerns, names.concerns);
  auto up = gauge_family("nanobox_node_ready", "1: the node takes sandboxes.");
  for (const auto& node : now.nodes) {
    add_value(up, {{"node", node->node_id}}, node->state == NodeState::ready ? 1 : 0);
    if (node->state == NodeState::lost) continue;
    per_node.add(*node);
    per_template.add(*node, names.templates);
    per_concern.add(node->node_id, node->beat.concerns, names.concerns);
  }
  families.push_back(std::move(up));
  std::move(per_node).take(families);
  std::move(per_template).take(families);
  std::move(per_concern).take(families);
  return families;
}

}  // namespace nanobox
