#pragma once

#include "actors/calls.hpp"
#include "actors/guest_stream.hpp"

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
};

/// Owns the templates: names, versions, runs. Detached: it writes the store.
using TemplateRegistryActor = caf::typed_actor<
    // Starts a warmup, joins the one that is on its way for an equal request, or finds nothing to do.
    caf::replies_to<warmup_atom, WarmupRequest>::with<WarmupAnswer>,
    // The commit point of a warmup.
    caf::replies_to<publish_atom, WarmupCall, BuiltImage>::with<Template>,
    // Owner, name, force. @errors template_not_found · template_in_use
    caf::replies_to<remove_atom, std::string, std::string, bool>::with<void>,
    // INTERNAL: a run ended.
    caf::reacts_to<ended_atom, RunRecord>,
    // Cancels what runs and answers when nothing does any more.
    caf::replies_to<drain_atom>::with<void>>;

using SchedulerActor =
    caf::typed_actor<caf::replies_to<place_atom, BootCall, BootRequest>::with<PlacedBoot>,
                     // A sandbox of an earlier daemon lives on: its share is taken.
                     caf::reacts_to<adopt_atom, Sandbox>, caf::replies_to<undo_atom, std::string>::with<void>>;
using IpAllocatorActor = caf::typed_actor<caf::replies_to<address_atom, BootCall, PlacedBoot>::with<AddressedBoot>,
                                          caf::replies_to<undo_atom, std::string>::with<void>>;
using NetworkKeeperActor = caf::typed_actor<caf::replies_to<network_atom, BootCall, AddressedBoot>::with<NetworkedBoot>,
                                            caf::replies_to<undo_atom, std::string>::with<void>>;
/// Makes and removes the files of sandboxes.
using DiskKeeperActor = caf::typed_actor<caf::replies_to<disk_atom, BootCall, NetworkedBoot>::with<DiskedBoot>,
                                         caf::replies_to<undo_atom, std::string>::with<void>>;

/// How a sandbox's VM ended.
using VmEndedSink = caf::typed_actor<caf::reacts_to<ended_atom, std::string, std::string>>;

/// A part of a VM's console.
struct ConsolePiece {
  std::string bytes;
  std::uint64_t end = 0;  ///< the offset behind it
};

/// One VM: its process, console and guest channel.
using VmSupervisorActor = caf::typed_actor<
    caf::replies_to<vm_atom, BootCall, DiskedBoot>::with<StartedVm>,
    caf::replies_to<shake_atom, BootCall, StartedVm>::with<ReadyGuest>,
    caf::replies_to<config_atom, BootCall, ReadyGuest>::with<Sandbox>,
    caf::replies_to<adopt_atom, Sandbox, VmIdentity>::with<void>,
    // Opens a stream of the guest; what it is told goes to the sink. The answer comes first.
    caf::replies_to<open_atom, StreamRequest, StreamSink>::with<GuestStream>,
    // As StreamSource.
    caf::reacts_to<grant_atom, std::uint32_t, std::uint32_t>,
    caf::reacts_to<write_atom, std::uint32_t, std::string, bool>,
    caf::reacts_to<signal_atom, std::uint32_t, std::uint32_t>, caf::reacts_to<resize_atom, std::uint32_t, TerminalSize>,
    caf::reacts_to<close_atom, std::uint32_t>,
    // Ends the VM; answers once it is gone.
    caf::replies_to<end_atom>::with<void>, caf::replies_to<console_atom>::with<std::string>,
    // The console from an offset on; answers once there is something. @errors why the VM has ended
    caf::replies_to<console_atom, std::uint64_t>::with<ConsolePiece>,
    // INTERNAL, from the poller.
    caf::reacts_to<ready_atom>, caf::reacts_to<bytes_atom, std::vector<std::byte>>, caf::reacts_to<exit_atom, VmExit>,
    caf::reacts_to<disk_error_atom, bool>, caf::reacts_to<tick_atom>, caf::reacts_to<console_atom, bool>>;

/// The node's face: its VMs by sandbox id, their deadlines.
using NodeAgentActor =
    caf::typed_actor<caf::replies_to<vm_atom, BootCall, DiskedBoot>::with<StartedVm>,
                     caf::replies_to<shake_atom, BootCall, StartedVm>::with<ReadyGuest>,
                     caf::replies_to<config_atom, BootCall, ReadyGuest>::with<Sandbox>,
                     // @errors guest_gone
                     caf::replies_to<adopt_atom, Sandbox>::with<void>,
                     // Opens a stream of that sandbox' guest. @errors sandbox_not_running
                     caf::replies_to<open_atom, std::string, StreamRequest, StreamSink>::with<GuestStream>,
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

/// Owns the sandboxes. Detached: it writes the store.
using SandboxRegistryActor = caf::typed_actor<
    // The sandbox to be (id, owner, template name, wishes filled in); answers when it runs.
    caf::replies_to<create_atom, BootRequest>::with<Sandbox>,
    // The client left while its sandbox was being made.
    caf::reacts_to<cancel_atom, std::string>, caf::replies_to<remove_atom, std::string>::with<void>,
    caf::replies_to<keep_atom, std::string, std::uint32_t>::with<Sandbox>,
    // INTERNAL: a boot's outcome; a VM that ended by itself; deadlines.
    caf::reacts_to<ended_atom, RunRecord, Sandbox>, caf::reacts_to<ended_atom, std::string, std::string>,
    caf::reacts_to<tick_atom>, caf::reacts_to<end_atom, std::string>,
    // Takes over the sandboxes of the store that nobody watches: adopts, fails, cleans.
    caf::replies_to<adopt_atom>::with<void>, caf::replies_to<drain_atom, std::string>::with<void>>;

}  // namespace nanobox

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(nanobox::WarmupAnswer)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(nanobox::ConsolePiece)
