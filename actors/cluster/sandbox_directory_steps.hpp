#pragma once

#include "actors/cluster/sandbox_directory.hpp"

namespace nanobox {

// What the sandbox directory's parts ask of each other; all on its thread.

using SandboxDirectorySelf = SandboxDirectoryActor::stateful_pointer<SandboxDirectoryState>;

inline constexpr std::chrono::minutes kCopyDeadline{11};

/// Takes what its node says of a sandbox, unless it is older than what is known.
void take(SandboxDirectorySelf self, const Sandbox& sandbox);
/// The store gets it soon; `flush` at once. @errors store_failed; it is tried again
void flush_soon(SandboxDirectorySelf self, const std::string& id);
Result<void> flush(SandboxDirectorySelf self);
/// What readers see of it: on a node that is away nothing else is known but that it is lost.
void show(SandboxDirectorySelf self, const Sandbox& sandbox);

Error missing_sandbox(const std::string& id);
/// That node, where it is connected; else nothing.
const SandboxDirectoryState::Node* connected_node(SandboxDirectorySelf self, const std::string& node_id);
/// Its node, likewise.
const SandboxDirectoryState::Node* node_of(SandboxDirectorySelf self, const Sandbox& sandbox);
/// Why a sandbox cannot be used whose node is away.
Error out_of_reach(SandboxDirectorySelf self, const Sandbox& sandbox);
/// A node's failure, told as the loss of the node where it is that.
Error told_of_loss(SandboxDirectorySelf self, const std::string& id, Error error);
/// Whether a node's word on that sandbox counts: it was put there.
bool is_its_own(SandboxDirectorySelf self, const std::string& node_id, const std::string& id);
/// Takes what a node says of a sandbox that is its own, or one that it may well have: a child that was asked for, and
/// whatever this process' own node has. @returns whether its word counts
bool take_word(SandboxDirectorySelf self, const std::string& node_id, const Sandbox& sandbox);
/// That node is asked for so many children of the parent; they are its own once it tells of them.
void expect_children(SandboxDirectorySelf self, const std::string& node_id, const std::string& parent,
                     std::uint32_t count);
/// It made none of them, unless the error says nothing of that.
void children_failed(SandboxDirectorySelf self, const std::string& node_id, const std::string& parent,
                     std::uint32_t count, const Error& error);
/// Whether the node may have done what it was asked, or still be at it.
bool says_nothing_of_it(const Error& error);
/// What that node may have of the sandbox is to end, whenever the node is back; the store is to know it.
void leave_behind(SandboxDirectorySelf self, const std::string& node_id, const std::string& id);
/// The node has nothing of it any more.
void ended_there(SandboxDirectorySelf self, const std::string& node_id, const std::string& id);
/// Nobody waits for it any more, and its node may have it, or be about to.
void give_up(SandboxDirectorySelf self, const std::string& id, const std::string& node_id);
/// Has a node end a sandbox that is not, or no more, its own.
void end_on(SandboxDirectorySelf self, const SandboxDirectoryState::Node& node, const std::string& id);

/// Where the sandboxes of a network group reach each other.
struct GroupPlace {
  std::string node;            ///< only there: it has no overlay; empty: anywhere
  bool needs_overlay = false;  ///< only on nodes that have one
};
/// For a sandbox of that owner and network. @param but  the id of one that does not count
GroupPlace group_place_of(SandboxDirectorySelf self, const Sandbox& wanted, const std::string& but);

// --- Copies of paused sandboxes on other nodes (sandbox_copies.cpp)

/// Makes the copies that are missing, a few at once.
void look_after_copies(SandboxDirectorySelf self);
/// A node came, with states that it keeps for others. @param there  the sandboxes that it has itself
void copies_arrived(SandboxDirectorySelf self, const std::string& node_id, const std::vector<std::string>& kept_states,
                    const std::set<std::string>& there);
/// A node need not keep that saved state any more. One that is away says what it keeps when it is back.
void drop_on(SandboxDirectorySelf self, const std::string& node_id, const std::string& saved);
/// Its copies are of no use any more.
void drop_copies(SandboxDirectorySelf self, const std::string& id);
/// A connected node that can go on with it while its own is away; empty: none.
std::string copy_holder(SandboxDirectorySelf self, const Sandbox& sandbox);
/// Where no other may go on with it, nor a copy go: its own node, and those that have yet to end an older one.
std::vector<std::string> not_for(SandboxDirectorySelf self, const Sandbox& sandbox);
/// What a node needs to get that sandbox' files, and from whom.
StateOffer state_offer(SandboxDirectorySelf self, const Sandbox& sandbox);
/// A node for what one of that sandbox' kind could continue; `resources` is what it must have room for.
/// @param group  where the others of its network are; nowhere for a copy, which is for when they are lost with its node
Result<std::string> choose_for(SandboxDirectorySelf self, const Sandbox& sandbox, const Amounts& resources,
                               std::vector<std::string> excluded, const GroupPlace& group);

// --- From node to node (sandbox_moving.cpp)

/// On its node, or where a copy is when that one is lost.
caf::result<Sandbox> resume(SandboxDirectorySelf self, const std::string& id);
/// One that its drained node has just paused goes on elsewhere, if there is room; else it stays.
void move_away(SandboxDirectorySelf self, const std::string& id);
/// Children go to other nodes where the parent's has no room for all.
caf::result<Forked> fork(SandboxDirectorySelf self, const std::string& id, std::uint32_t count);

}  // namespace nanobox
