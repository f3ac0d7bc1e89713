#pragma once

#include "actors/calls.hpp"
#include "actors/guest_stream.hpp"
#include "pipeline/boot/snapshot/save.hpp"

namespace nanobox {

/// Finds and fetches images. A root that another run is just making is waited for, not made twice.
using ImagePullerActor =
    caf::typed_actor<caf::replies_to<resolve_atom, WarmupCall, ImageRequest>::with<ResolvedImage>,
                     // Answers once the downloads have started.
                     caf::replies_to<pull_atom, WarmupCall, ResolvedImage>::with<PulledImage>,
                     // Stops what this run started.
                     caf::replies_to<undo_atom, std::string>::with<void>, caf::reacts_to<cancel_atom, std::string>,
                     // The run is over: whoever waits for the same root goes on.
                     caf::reacts_to<ended_atom, std::string>>;

using LayerExtractorActor =
    caf::typed_actor<caf::replies_to<extract_atom, WarmupCall, PulledImage>::with<IndexedImage>,
                     caf::replies_to<undo_atom, std::string>::with<void>, caf::reacts_to<cancel_atom, std::string>>;

using Ext4BuilderActor = caf::typed_actor<caf::replies_to<build_atom, WarmupCall, IndexedImage>::with<BuiltImage>,
                                          caf::reacts_to<cancel_atom, std::string>>;

/// Answers of a warmup request: the run that is on its way, or that nothing is to do.
struct WarmupAnswer {
  std::string name;
  std::string operation_id;
  TemplateStatus status = TemplateStatus::queued;
  bool operator==(const WarmupAnswer&) const = default;
};

/// Owns the templates: names, versions, runs. Detached: it writes the store.
using TemplateRegistryActor = caf::typed_actor<
    // Starts a warmup, joins the one that is on its way for an equal request, or finds nothing to do.
    caf::replies_to<warmup_atom, WarmupRequest>::with<WarmupAnswer>,
    // The commit point of a warmup.
    caf::replies_to<publish_atom, WarmupCall, BuiltImage>::with<Template>,
    // Owner, name, force. @errors template_not_found · template_in_use
    caf::replies_to<remove_atom, std::string, std::string, bool>::with<void>,
    // A template made from a sandbox. @errors conflict: the name is taken
    caf::replies_to<publish_atom, Template>::with<Template>,
    // A version that was made on another node and whose files are here now.
    caf::replies_to<adopt_atom, Template>::with<Template>,
    // INTERNAL: a run ended, and what came of it.
    caf::reacts_to<ended_atom, RunRecord, Template>,
    // Cancels what runs and answers when nothing does any more.
    caf::replies_to<drain_atom>::with<void>>;

using SchedulerActor = caf::typed_actor<caf::replies_to<place_atom, BootCall, BootRequest>::with<PlacedBoot>,
                                        // Whether so many more like that one have room; nothing is taken yet.
                                        caf::replies_to<place_atom, Sandbox, std::uint32_t>::with<void>,
                                        // A sandbox of an earlier daemon lives on: its share is taken.
                                        caf::reacts_to<adopt_atom, Sandbox>,
                                        // The first's share becomes the second's.
                                        caf::reacts_to<rename_atom, std::string, std::string>,
                                        caf::replies_to<undo_atom, std::string>::with<void>>;
using IpAllocatorActor = caf::typed_actor<caf::replies_to<address_atom, BootCall, PlacedBoot>::with<AddressedBoot>,
                                          // The first's address becomes the second's.
                                          caf::reacts_to<rename_atom, std::string, std::string>,
                                          caf::replies_to<undo_atom, std::string>::with<void>,
                                          // How many it has, and how many of them are free.
                                          caf::replies_to<address_atom>::with<std::uint32_t, std::uint32_t>,
                                          // The node's parts of the subnet (CIDR) from now on, and whether there may
                                          // come more when they run out.
                                          caf::reacts_to<address_atom, std::vector<std::string>, bool>,
                                          // INTERNAL: who waits for another part waits no longer.
                                          caf::reacts_to<tick_atom>>;
using NetworkKeeperActor =
    caf::typed_actor<caf::replies_to<network_atom, BootCall, AddressedBoot>::with<NetworkedBoot>,
                     // What the sandbox' record says holds from now on. @errors network_unavailable
                     caf::replies_to<network_atom, Sandbox>::with<void>,
                     caf::replies_to<undo_atom, std::string>::with<void>,
                     // INTERNAL
                     caf::reacts_to<fill_atom>, caf::reacts_to<tick_atom>>;
/// Makes and removes the files of sandboxes.
using DiskKeeperActor = caf::typed_actor<caf::replies_to<disk_atom, BootCall, NetworkedBoot>::with<DiskedBoot>,
                                         caf::replies_to<undo_atom, std::string>::with<void>>;

/// How a sandbox's VM ended.
using VmEndedSink = caf::typed_actor<caf::reacts_to<ended_atom, std::string, std::string>>;

/// A part of a VM's console.
struct ConsolePiece {
  std::string bytes;
  std::uint64_t end = 0;  ///< the offset behind it
  bool operator==(const ConsolePiece&) const = default;
};

/// What a waiting VMM is kept ready for.
struct StockShape {
  std::filesystem::path memory_file;
  std::uint32_t vcpu = 1;
  std::uint32_t memory_mb = 0;
  std::filesystem::path base_image;                ///< of the disk
  std::vector<std::filesystem::path> disk_layers;  ///< over it, that all of them have
  /// That all of them have: it is loaded, over an overlay made for it, beforehand. Empty: each brings its own.
  std::filesystem::path state = {};
  std::uint64_t disk_bytes = 0;  ///< as `state` has it
  auto operator<=>(const StockShape&) const = default;
};

/// Empty VMMs, spawned before they are wanted. Detached: letting go of one ends its process.
using VmmStockActor = caf::typed_actor<
    // One that lives, from the shelf or made now; the asker owns what is noted under its id.
    caf::replies_to<take_atom, StockShape>::with<std::shared_ptr<EmptyVmm>>,
    // So many are kept from now on; a shape that nobody takes for long is given up.
    caf::reacts_to<keep_atom, StockShape, std::uint32_t>,
    // INTERNAL
    caf::reacts_to<fill_atom>, caf::reacts_to<tick_atom>,
    // Ends them all; none is made any more.
    caf::replies_to<drain_atom>::with<void>>;

/// One VM: its process, console and guest channel.
using VmSupervisorActor = caf::typed_actor<
    caf::replies_to<vm_atom, BootCall, DiskedBoot>::with<StartedVm>,
    caf::replies_to<shake_atom, BootCall, StartedVm>::with<ReadyGuest>,
    caf::replies_to<rehearse_atom, BootCall, ReadyGuest>::with<ReadyGuest>,
    caf::replies_to<config_atom, BootCall, ReadyGuest>::with<Sandbox>,
    caf::replies_to<adopt_atom, Sandbox, VmIdentity>::with<void>,
    // Opens a stream of the guest; what it is told goes to the sink. The answer comes first.
    caf::replies_to<open_atom, StreamRequest, StreamSink>::with<GuestStream>,
    // As StreamSource.
    caf::reacts_to<grant_atom, std::uint32_t, std::uint32_t>,
    caf::reacts_to<write_atom, std::uint32_t, std::string, bool>,
    caf::reacts_to<signal_atom, std::uint32_t, std::uint32_t>, caf::reacts_to<resize_atom, std::uint32_t, TerminalSize>,
    caf::reacts_to<close_atom, std::uint32_t>,
    // Freezes the guest, saves it; thawed again unless the VM stands still afterwards, to be ended or thawed.
    caf::replies_to<capture_atom, SaveOrder>::with<Saved>, caf::replies_to<thaw_atom>::with<void>,
    // A pool's VM becomes that sandbox.
    caf::replies_to<take_atom, BootRequest>::with<Sandbox>,
    // Answers once the guest does.
    caf::replies_to<ping_atom>::with<void>,
    // Ends the VM; answers once it is gone.
    caf::replies_to<end_atom>::with<void>, caf::replies_to<console_atom>::with<std::string>,
    // The console from an offset on; answers once there is something. @errors why the VM has ended
    caf::replies_to<console_atom, std::uint64_t>::with<ConsolePiece>,
    // INTERNAL, from the poller.
    caf::reacts_to<ready_atom>, caf::reacts_to<bytes_atom, std::vector<std::byte>>, caf::reacts_to<exit_atom, VmExit>,
    caf::reacts_to<disk_error_atom, bool>, caf::reacts_to<tick_atom>, caf::reacts_to<tick_atom, bool>,
    caf::reacts_to<console_atom, bool>,
    // INTERNAL: the guest had so long to freeze.
    caf::reacts_to<thaw_atom, std::uint32_t>>;

/// The node's face: its VMs by sandbox id, their deadlines.
using NodeAgentActor =
    caf::typed_actor<caf::replies_to<vm_atom, BootCall, DiskedBoot>::with<StartedVm>,
                     caf::replies_to<shake_atom, BootCall, StartedVm>::with<ReadyGuest>,
                     caf::replies_to<rehearse_atom, BootCall, ReadyGuest>::with<ReadyGuest>,
                     caf::replies_to<config_atom, BootCall, ReadyGuest>::with<Sandbox>,
                     // @errors guest_gone
                     caf::replies_to<adopt_atom, Sandbox>::with<void>,
                     // Opens a stream of that sandbox' guest. @errors sandbox_not_running
                     caf::replies_to<open_atom, std::string, StreamRequest, StreamSink>::with<GuestStream>,
                     caf::replies_to<capture_atom, std::string, SaveOrder>::with<Saved>,
                     caf::replies_to<thaw_atom, std::string>::with<void>,
                     // The pool's VM of that id becomes that sandbox, with all that it has on this node.
                     caf::replies_to<take_atom, std::string, BootRequest>::with<Sandbox>,
                     caf::replies_to<ping_atom, std::string>::with<void>,
                     // Whether something listens at that port inside. @errors connection_refused
                     caf::replies_to<ping_atom, std::string, std::uint16_t>::with<void>,
                     // Ends the VM, if there is one, and removes all that the sandbox has on this node. Idempotent.
                     caf::replies_to<end_atom, std::string>::with<void>,
                     // Ends the VM alone (undo of the stage `vm`). Idempotent.
                     caf::replies_to<undo_atom, std::string>::with<void>,
                     caf::replies_to<console_atom, std::string>::with<std::string>,
                     caf::replies_to<console_atom, std::string, std::uint64_t>::with<ConsolePiece>,
                     // A supervisor says that its VM ended by itself, and why.
                     caf::reacts_to<ended_atom, std::string, std::string>,
                     // Who is to be told of that.
                     caf::reacts_to<start_atom, VmEndedSink>>;

/// Told the end of a boot.
using BootEndedSink = caf::typed_actor<caf::reacts_to<ended_atom, RunRecord, Sandbox>>;

/// Makes the snapshots of templates.
using SnapshotMakerActor = caf::typed_actor<
    // The stage `snapshot`: the template with its snapshot, or with why there is none. @errors of its prime
    caf::replies_to<snapshot_atom, WarmupCall, Template>::with<Template>,
    caf::replies_to<undo_atom, std::string>::with<void>,
    // A warmup is over, and the template registry knows: a snapshot it has no use for goes.
    caf::reacts_to<ended_atom, std::string>,
    // Somebody used the template in that size, of which there is no snapshot: makes it in its own time, or not.
    caf::reacts_to<snapshot_atom, Template>,
    // Ends what no warmup asked for; nothing is made any more.
    caf::replies_to<drain_atom>::with<void>,
    // INTERNAL: its VM has booted, or not; whether its prime is ready is looked at again.
    caf::reacts_to<ended_atom, RunRecord, Sandbox>, caf::reacts_to<tick_atom, std::string>>;

/// Keeps ready VMs of the templates that [pool] names.
using PoolKeeperActor = caf::typed_actor<
    // @errors boot_path_unavailable: none that fits
    caf::replies_to<take_atom, BootRequest>::with<Sandbox>,
    // INTERNAL
    caf::reacts_to<tick_atom>, caf::reacts_to<fill_atom>, caf::reacts_to<ended_atom, RunRecord, Sandbox>,
    // Gives all back and makes none until told otherwise: the node is drained.
    caf::reacts_to<pause_atom, bool>,
    // A VM of its ended by itself.
    caf::reacts_to<ended_atom, std::string, std::string>,
    // Gives all back; none is made any more.
    caf::replies_to<drain_atom>::with<void>>;

/// The copies of a running sandbox, and how long it stood still for them.
struct Forked {
  std::vector<Sandbox> children;
  std::int64_t pause_us = 0;   ///< no vCPU ran
  std::int64_t frozen_us = 0;  ///< no process but init ran
  bool operator==(const Forked&) const = default;
};

/// Owns the sandboxes. Detached: it writes the store.
using SandboxRegistryActor = caf::typed_actor<
    // The sandbox to be (id, owner, template name, wishes filled in); answers when it runs.
    caf::replies_to<create_atom, BootRequest>::with<Sandbox>,
    // The client left while its sandbox was being made.
    caf::reacts_to<cancel_atom, std::string>, caf::replies_to<remove_atom, std::string>::with<void>,
    caf::replies_to<keep_atom, std::string, std::uint32_t>::with<Sandbox>,
    // Other rules for a running one's network. @errors sandbox_not_running · network_unavailable
    caf::replies_to<network_atom, std::string, SandboxNetwork>::with<Sandbox>,
    // State to disk and the VM gone; and back. @errors sandbox_not_running · conflict · disk_full · vmm_failed
    caf::replies_to<pause_atom, std::string>::with<Sandbox>, caf::replies_to<resume_atom, std::string>::with<Sandbox>,
    // So many copies of a running one.
    caf::replies_to<fork_atom, std::string, std::uint32_t>::with<Forked>,
    // A template of that name from a running one. @errors conflict: the name is taken
    caf::replies_to<snapshot_atom, std::string, std::string>::with<Template>,
    // What it keeps for other nodes, by saved_name (kept_states.hpp): note it, let go of it, make it a sandbox of this
    // node, boot so many copies of it; and keep a running sandbox' state of now.
    caf::replies_to<keep_atom, Sandbox>::with<Sandbox>, caf::replies_to<undo_atom, std::string>::with<void>,
    caf::replies_to<adopt_atom, std::string, Sandbox>::with<Sandbox>,
    caf::replies_to<create_atom, std::string, std::uint32_t>::with<Forked>,
    caf::replies_to<capture_atom, std::string>::with<Forked>,
    // INTERNAL: a boot's outcome; a VM that ended by itself; deadlines.
    caf::reacts_to<ended_atom, RunRecord, Sandbox>, caf::reacts_to<ended_atom, std::string, std::string>,
    caf::reacts_to<tick_atom>, caf::reacts_to<end_atom, std::string>,
    // Takes over the sandboxes of the store that nobody watches: adopts, fails, cleans.
    caf::replies_to<adopt_atom>::with<void>, caf::replies_to<drain_atom, std::string>::with<void>>;

}  // namespace nanobox

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(nanobox::Saved)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(nanobox::SaveOrder)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(nanobox::StockShape)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(std::shared_ptr<nanobox::EmptyVmm>)
