#pragma once

#include "actors/guest_stream.hpp"
#include "actors/messages.hpp"
#include "actors/wire/guest_stream_inspect.hpp"
#include "actors/wire/record_inspect.hpp"
#include "pipeline/cluster/node_report.hpp"

namespace nanobox {

/// A version of a template that a node may get from others.
struct TemplateOffer {
  Template entry;
  std::vector<std::string> sources;  ///< data_addr of the nodes that have it
};

/// A sandbox that a node is to make.
struct SandboxOrder {
  Sandbox sandbox;  ///< id, owner, template name, wishes
  BootWay way = BootWay::automatic;
  std::uint32_t waited_ms = 0;        ///< since the server had the request
  std::string placement;              ///< why this node, for the run's record
  std::vector<TemplateOffer> offers;  ///< one where the node is not known to have it
};

template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, TemplateOffer& x) {
  return f(caf::meta::type_name("TemplateOffer"), x.entry, x.sources);
}
template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, SandboxOrder& x) {
  return f(caf::meta::type_name("SandboxOrder"), x.sandbox, x.way, x.waited_ms, x.placement, x.offers);
}
template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, NodeCapacity& x) {
  return f(caf::meta::type_name("NodeCapacity"), x.vcpu, x.memory_mb, x.disk_mb, x.addresses, x.vcpu_overcommit,
           x.disk_overcommit);
}
template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, NodeHello& x) {
  return f(caf::meta::type_name("NodeHello"), x.node_id, x.protocol, x.version, x.incarnation, x.epoch, x.vmm,
           x.machine, x.data_addr, x.capacity, x.sandboxes, x.templates, x.pools);
}
template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, NodeBeat& x) {
  return f(caf::meta::type_name("NodeBeat"), x.ready, x.reason, x.disk_free_mb, x.cache_bytes, x.snapshot_bytes);
}
template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, NodeNews& x) {
  return f(caf::meta::type_name("NodeNews"), x.sandboxes, x.gone_sandboxes, x.templates, x.gone_templates, x.runs,
           x.pools);
}

}  // namespace nanobox

// The control plane's own.
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(nanobox::NodeStatus)

CAF_BEGIN_TYPE_ID_BLOCK(nanobox_cluster, caf::id_block::nanobox::end)
CAF_ADD_TYPE_ID(nanobox_cluster, (nanobox::TemplateOffer))
CAF_ADD_TYPE_ID(nanobox_cluster, (nanobox::SandboxOrder))
CAF_ADD_TYPE_ID(nanobox_cluster, (nanobox::NodeCapacity))
CAF_ADD_TYPE_ID(nanobox_cluster, (nanobox::NodeHello))
CAF_ADD_TYPE_ID(nanobox_cluster, (nanobox::NodeBeat))
CAF_ADD_TYPE_ID(nanobox_cluster, (nanobox::NodeNews))
CAF_ADD_ATOM(nanobox_cluster, nanobox, hello_atom, "hello")
CAF_ADD_ATOM(nanobox_cluster, nanobox, greet_atom, "greet")
CAF_ADD_ATOM(nanobox_cluster, nanobox, beat_atom, "beat")
CAF_ADD_ATOM(nanobox_cluster, nanobox, news_atom, "news")
CAF_ADD_ATOM(nanobox_cluster, nanobox, lost_atom, "lost")
CAF_ADD_ATOM(nanobox_cluster, nanobox, node_atom, "node")
CAF_ADD_ATOM(nanobox_cluster, nanobox, cordon_atom, "cordon")
CAF_ADD_ATOM(nanobox_cluster, nanobox, uncordon_atom, "uncordon")
CAF_ADD_ATOM(nanobox_cluster, nanobox, flush_atom, "flush")
CAF_ADD_ATOM(nanobox_cluster, nanobox, fetch_atom, "fetch")
CAF_ADD_ATOM(nanobox_cluster, nanobox, join_atom, "join")
CAF_END_TYPE_ID_BLOCK(nanobox_cluster)

namespace nanobox {

/// What a node tells its control plane. All of it is checked as an enemy's.
using NodeInboxActor = caf::typed_actor<caf::reacts_to<beat_atom, NodeBeat>, caf::reacts_to<news_atom, NodeNews>>;

/// What a node is told that was let in.
struct Admission {
  NodeInboxActor inbox;
  std::uint64_t epoch = 0;
  std::vector<std::string> given_up;  ///< its sandboxes that are another's now, or nobody's: it ends them
};

template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, Admission& x) {
  return f(caf::meta::type_name("Admission"), x.inbox, x.epoch, x.given_up);
}

}  // namespace nanobox

CAF_BEGIN_TYPE_ID_BLOCK(nanobox_admission, caf::id_block::nanobox_cluster::end)
CAF_ADD_TYPE_ID(nanobox_admission, (nanobox::Admission))
CAF_END_TYPE_ID_BLOCK(nanobox_admission)
