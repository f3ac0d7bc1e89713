#pragma once

#include "actors/sandbox_registry.hpp"

namespace nanobox {

// What the sandbox registry's parts ask of each other; all on its thread.

/// The record and the board; `sandbox` gets the revision that was written.
Result<void> store_sandbox(SandboxRegistrySelf self, Sandbox& sandbox);
Error sandbox_missing(const std::string& id);
/// Why what needs a running sandbox cannot be done with this one.
Error not_running(const Sandbox& sandbox, std::string attempted);
/// Has the deadlines looked at once that time has passed.
void look_again_at(SandboxRegistrySelf self, WallTime when);
/// Its VM has ended by itself: it is `failed`, unless it is being paused, which decides what it is.
void vm_ended(SandboxRegistrySelf self, const std::string& id, const std::string& reason);
/// Starts the run that boots it; `done` is told once it runs, or why not.
void start_boot(SandboxRegistrySelf self, BootRequest request, bool resumes, std::function<void(Result<Sandbox>)> done);
/// Ends the sandbox' VM and files, then forgets it but for the record of its death.
void end_sandbox(SandboxRegistrySelf self, const std::string& id, DeathCause cause, std::string reason);
/// Its VM was ended for a pause: what it left is kept with its saved state.
void keep_remains(SandboxRegistrySelf self, const Sandbox& paused);
/// Whoever waits for the registry to be idle goes on, if it is.
void end_draining(SandboxRegistrySelf self);

caf::result<Sandbox> pause_sandbox(SandboxRegistrySelf self, const std::string& id);
/// Its time is over. What is asked of it from here on comes after the pause.
void pause_expired(SandboxRegistrySelf self, const std::string& id);
caf::result<Sandbox> resume_sandbox(SandboxRegistrySelf self, const std::string& id);
caf::result<Forked> fork_sandbox(SandboxRegistrySelf self, const std::string& id, std::uint32_t count);
caf::result<Template> snapshot_sandbox(SandboxRegistrySelf self, const std::string& id, const std::string& name);

/// Puts a sandbox' files in order that a daemon left in the middle of saving it. Blocking, briefly.
void mend_lineage(const Services& services, Sandbox& sandbox);
/// The VM of a `pausing` sandbox is gone: whether its state was saved before. It is `paused` then.
bool finish_pause(const Services& services, Sandbox& sandbox);
/// Removes saved states and frozen overlays that no sandbox stands on.
void collect_layers(SandboxRegistrySelf self);

}  // namespace nanobox
