#pragma once

#include "actors/guest_stream.hpp"
#include "actors/messages.hpp"
#include "actors/wire/guest_stream_inspect.hpp"
#include "actors/wire/record_inspect.hpp"
#include "pipeline/boot/network/remote_networks.hpp"
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

/// A sandbox at rest that a node may get from others.
struct StateOffer {
  Sandbox state;                     ///< with the paths of any node
  std::vector<std::string> sources;  ///< data_addr, the likeliest first
};

NANOBOX_WIRE_TYPE(TemplateOffer);
NANOBOX_WIRE_TYPE(StateOffer);
NANOBOX_WIRE_TYPE(SandboxOrder);
NANOBOX_WIRE_TYPE(NodeCapacity);
NANOBOX_WIRE_TYPE(NodeHello);
NANOBOX_WIRE_TYPE(NodeBeat);
NANOBOX_WIRE_TYPE(NodeNews);
NANOBOX_WIRE_TYPE(Ipv4Subnet);
NANOBOX_WIRE_TYPE(OverlayPeer);
NANOBOX_WIRE_TYPE(RemoteMember);
NANOBOX_WIRE_TYPE(RemoteGroup);
NANOBOX_WIRE_TYPE(RemoteNetworks);

}  // namespace nanobox

// The control plane's own.
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(nanobox::NodeStatus)

CAF_BEGIN_TYPE_ID_BLOCK(nanobox_cluster, caf::id_block::nanobox::end)
CAF_ADD_TYPE_ID(nanobox_cluster, (nanobox::TemplateOffer))
CAF_ADD_TYPE_ID(nanobox_cluster, (nanobox::StateOffer))
CAF_ADD_TYPE_ID(nanobox_cluster, (nanobox::SandboxOrder))
CAF_ADD_TYPE_ID(nanobox_cluster, (nanobox::NodeCapacity))
CAF_ADD_TYPE_ID(nanobox_cluster, (nanobox::NodeHello))
CAF_ADD_TYPE_ID(nanobox_cluster, (nanobox::NodeBeat))
CAF_ADD_TYPE_ID(nanobox_cluster, (nanobox::NodeNews))
CAF_ADD_TYPE_ID(nanobox_cluster, (nanobox::RemoteNetworks))
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

NANOBOX_WIRE_TYPE(Admission);

}  // namespace nanobox

CAF_BEGIN_TYPE_ID_BLOCK(nanobox_admission, caf::id_block::nanobox_cluster::end)
CAF_ADD_TYPE_ID(nanobox_admission, (nanobox::Admission))
CAF_END_TYPE_ID_BLOCK(nanobox_admission)
