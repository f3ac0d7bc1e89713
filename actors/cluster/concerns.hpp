#pragma once

#include "actors/cluster/messages.hpp"
#include "actors/concerns.hpp"
#include "actors/guest_access.hpp"

namespace nanobox {

/// What is done to sandboxes by their id, wherever they are.
using SandboxCommandsActor = caf::typed_actor<
    // Its client left while it was being made.
    caf::reacts_to<cancel_atom, std::string>, caf::replies_to<remove_atom, std::string>::with<void>,
    caf::replies_to<keep_atom, std::string, std::uint32_t>::with<Sandbox>,
    caf::replies_to<network_atom, std::string, SandboxNetwork>::with<Sandbox>,
    caf::replies_to<pause_atom, std::string>::with<Sandbox>, caf::replies_to<resume_atom, std::string>::with<Sandbox>,
    caf::replies_to<fork_atom, std::string, std::uint32_t>::with<Forked>,
    caf::replies_to<snapshot_atom, std::string, std::string>::with<Template>>;

/// Gets templates from other nodes.
using TemplateFetcherActor = caf::typed_actor<
    // Answers once the node has that version; what it took, in words, empty where it was there.
    caf::replies_to<fetch_atom, TemplateOffer>::with<std::string>>;

/// Gets what sandboxes at rest stand on from other nodes.
using StateFetcherActor = caf::typed_actor<
    // Answers once it is here, whole, fits this node and is kept. @errors snapshot_invalid · as FetchArtifact
    caf::replies_to<fetch_atom, StateOffer>::with<void>>;

/// Puts in place what the control plane tells of other nodes' networks.
using RemoteNetworkKeeperActor = caf::typed_actor<caf::reacts_to<network_atom, RemoteNetworks>>;

/// Who deals with what other nodes have: gets it, or makes it reached.
struct Fetchers {
  TemplateFetcherActor templates;
  StateFetcherActor states;
  RemoteNetworkKeeperActor networks;
};

/// What a node does for sandboxes at rest of others: as SandboxRegistryActor.
using KeptStatesActor =
    StateFetcherActor::extend<caf::replies_to<undo_atom, std::string>::with<void>,
                              caf::replies_to<adopt_atom, std::string, Sandbox>::with<Sandbox>,
                              caf::replies_to<create_atom, std::string, std::uint32_t>::with<Forked>,
                              caf::replies_to<capture_atom, std::string>::with<Forked>>;

/// What a control plane asks of a node. Each connection has a face of its own on the node, which ends with it: a face
/// of a former connection takes no orders.
using NodeFaceActor = SandboxCommandsActor::extend_with<GuestAccessActor>::extend_with<KeptStatesActor>::extend<
    caf::replies_to<create_atom, SandboxOrder>::with<Sandbox>,
    caf::replies_to<warmup_atom, WarmupRequest>::with<WarmupAnswer>,
    // Owner, name, force.
    caf::replies_to<remove_atom, std::string, std::string, bool>::with<void>,
    // Of other nodes: their networks. Of the subnet: this node's parts, and whether there may come more.
    caf::reacts_to<network_atom, RemoteNetworks>, caf::reacts_to<address_atom, std::vector<std::string>, bool>,
    // Pools are given back; true: until further notice, false: they fill again.
    caf::reacts_to<drain_atom, bool>>;

/// Where nodes come in: a challenge first, then who the node is, its face, and the answer to the challenge.
/// @errors peer_untrusted, and as NodeRegistryActor
using NodeDoorActor =
    caf::typed_actor<caf::replies_to<greet_atom>::with<std::string>,
                     caf::replies_to<hello_atom, NodeHello, NodeFaceActor, std::string>::with<Admission>>;

/// Told what a node of that epoch says.
using NewsSinkActor = caf::typed_actor<caf::reacts_to<news_atom, std::string, std::uint64_t, NodeNews>>;

/// A node as the control plane's own actors use it: all that a face understands, as long as the connection is there.
/// Afterwards, and for what was on its way, @errors node_lost.
using NodeSessionActor = NodeFaceActor::extend_with<NodeInboxActor>::extend<
    // A directory takes news of sandboxes, or (true) of templates, itself: they reach it before the answers that follow
    // them, which its supervisor's queue would not see to.
    caf::reacts_to<start_atom, NewsSinkActor, bool>,
    // The connection is over, says who knows: why.
    caf::reacts_to<lost_atom, std::string>,
    // INTERNAL
    caf::reacts_to<tick_atom>>;

/// Takes what is asked of a guest to its node.
using GuestRouterActor = GuestAccessActor::extend<caf::reacts_to<hello_atom, NodeStatus, NodeSessionActor>,
                                                  caf::reacts_to<lost_atom, std::string, std::uint64_t, std::string>>;

/// Knows which sandboxes of a group are where, and tells each node of the others' networks as they come and go.
using NetworkDirectoryActor =
    caf::typed_actor<caf::reacts_to<hello_atom, NodeStatus, NodeSessionActor>,
                     caf::reacts_to<lost_atom, std::string, std::uint64_t, std::string>,
                     // INTERNAL: that sandbox, or node, is another one on the board · what changed is told
                     caf::reacts_to<network_atom, std::string>, caf::reacts_to<node_atom, std::string>,
                     caf::reacts_to<flush_atom>>;

/// Tells the control plane all that has changed on the node's boards before it answers.
using NewsFlushActor = caf::typed_actor<caf::replies_to<flush_atom>::with<void>>;

/// Lets nodes in and knows how each fares.
using NodeRegistryActor = caf::typed_actor<
    // The node's own words and its face. @errors version_incompatible · node_exists · token_invalid: it was removed
    caf::replies_to<hello_atom, NodeHello, NodeFaceActor>::with<Admission>,
    // A session of that node and epoch: how it fares, its end and why.
    caf::reacts_to<beat_atom, std::string, std::uint64_t, NodeBeat>,
    caf::reacts_to<news_atom, std::string, std::uint64_t, std::vector<PoolState>>,
    caf::reacts_to<lost_atom, std::string, std::uint64_t, std::string>,
    // Nothing new is placed there; with `true` its pools are given back too, and after so many seconds what still runs
    // is paused. @errors node_not_found
    caf::replies_to<cordon_atom, std::string, bool, std::uint32_t>::with<NodeStatus>,
    caf::replies_to<uncordon_atom, std::string>::with<NodeStatus>,
    // Forgets a node that is lost. @errors node_not_found · conflict
    caf::replies_to<remove_atom, std::string>::with<void>,
    // A node of that id, with the digest of its key, wants to be one of ours. @errors node_exists · no_address
    caf::replies_to<join_atom, std::string, std::string>::with<NodeStatus>,
    // INTERNAL: a directory was started anew; the nodes tell it all again.
    caf::reacts_to<tick_atom>>;

/// Knows where each sandbox is, and places new ones.
using SandboxDirectoryActor = SandboxCommandsActor::extend<
    // The sandbox to be (id, owner, template name, wishes filled in); answers when it runs.
    caf::replies_to<create_atom, BootRequest>::with<Sandbox>,
    // Where it would be put, and why not elsewhere: JSON. @errors no_capacity
    caf::replies_to<place_atom, BootRequest>::with<std::string>,
    // A node came, with what it holds, the names of what it keeps for others last. Answers which of its sandboxes it
    // has to end.
    caf::replies_to<hello_atom, NodeStatus, NodeSessionActor, std::vector<Sandbox>, std::vector<Template>,
                    std::vector<std::string>>::with<std::vector<std::string>>,
    // How a node is now: whether it takes sandboxes, what it has.
    caf::reacts_to<node_atom, NodeStatus>,
    // Its connection of that epoch is over: why.
    caf::reacts_to<lost_atom, std::string, std::uint64_t, std::string>,
    caf::reacts_to<news_atom, std::string, std::uint64_t, NodeNews>,
    // The node is none of ours any more: its sandboxes are forgotten.
    caf::reacts_to<remove_atom, std::string, bool>,
    // Whatever changed since goes to the store.
    caf::reacts_to<flush_atom>, caf::reacts_to<tick_atom>>;

/// Knows which templates there are, and which node has which.
using TemplateDirectoryActor = caf::typed_actor<
    caf::replies_to<warmup_atom, WarmupRequest>::with<WarmupAnswer>,
    // Owner, name, force. @errors template_not_found · template_in_use
    caf::replies_to<remove_atom, std::string, std::string, bool>::with<void>,
    caf::replies_to<hello_atom, NodeStatus, NodeSessionActor, std::vector<Template>>::with<void>,
    caf::reacts_to<node_atom, NodeStatus>, caf::reacts_to<lost_atom, std::string, std::uint64_t, std::string>,
    // The node is none of ours any more: what it alone had is forgotten.
    caf::reacts_to<remove_atom, std::string, bool>, caf::reacts_to<news_atom, std::string, std::uint64_t, NodeNews>>;

}  // namespace nanobox

CAF_BEGIN_TYPE_ID_BLOCK(nanobox_faces, caf::id_block::nanobox_admission::end)
CAF_ADD_TYPE_ID(nanobox_faces, (nanobox::NodeFaceActor))
CAF_ADD_TYPE_ID(nanobox_faces, (nanobox::NodeInboxActor))
CAF_END_TYPE_ID_BLOCK(nanobox_faces)
