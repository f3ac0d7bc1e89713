#pragma once

#include "actors/sandbox_steps.hpp"

namespace nanobox {

// Sandboxes at rest that are not this node's to run: copies of those that are paused on other nodes, and what forks and
// moves take from here to there. On the board `kept_states` by the name of their saved state. `creating`: its files are
// on their way; `paused`: whole; `running`: whole as long as this daemon lives. Their files stay until they are
// dropped.

/// Those of an earlier daemon; what was not whole is forgotten, its files go with the next collection.
Result<void> load_kept_states(const Services& services);

/// A whole one. @errors artifact_missing
Result<std::shared_ptr<const Sandbox>> find_state(const Services& services, const std::string& name);

/// Notes one, from any node: @returns it with the paths it has here. @errors invalid_value: no state of a sandbox
Result<Sandbox> keep_state(SandboxRegistrySelf self, Sandbox state);
/// Lets go of it. None of that name is fine.
Result<void> drop_state(SandboxRegistrySelf self, const std::string& name);
/// A whole one becomes a paused sandbox of this node: `known`, as the control plane has it, with the files that are
/// here. Repeating it changes nothing. @errors artifact_missing · conflict: a sandbox of that id is here
Result<Sandbox> adopt_state(SandboxRegistrySelf self, const std::string& name, Sandbox known);
/// So many sandboxes that go on from it. @errors artifact_missing · as a fork's
caf::result<Forked> fork_state(SandboxRegistrySelf self, const std::string& name, std::uint32_t count);
/// Saves a running sandbox, which goes on, for copies on other nodes; answers the kept state as the only child.
caf::result<Forked> export_sandbox(SandboxRegistrySelf self, const std::string& id);

}  // namespace nanobox
